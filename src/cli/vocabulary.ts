// Options of commands that can write a model with a smaller vocabulary.
import { UsageError } from '../base/errors.ts'
import type { TextInput, VocabularyChoice } from '../node.ts'
import type { OptionSpec, Parsed } from './arguments.ts'

export const VOCABULARY_OPTIONS = {
  vocabulary: { type: 'text', many: true, value: 'file', help: 'keep only the tokens of this text; repeatable' },
  'vocabulary-size': { type: 'integer', rare: true, help: 'tokens at most, the most frequent (default all of it)' },
} as const satisfies Record<string, OptionSpec>

export function vocabularyChoice(options: Parsed<typeof VOCABULARY_OPTIONS>): VocabularyChoice<TextInput> | undefined {
  const { vocabulary: keep, 'vocabulary-size': size } = options
  if (size !== undefined && !keep)
    throw new UsageError('--vocabulary-size is of the tokens of texts. Say which with --vocabulary <file>.')
  return keep && { keep, size }
}
