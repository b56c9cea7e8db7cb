import { expect, test } from 'vitest'
import { compare, evaluate, exportModel, generate, inspect, perplexity, prune, push } from '../node.ts'

/** What no type allows. */
const wrong = (value: unknown) => value as never

test.for<[string, () => Promise<unknown>, string]>([
  [
    'a name that is nearly one',
    () => prune('none', wrong({ sparsity: 0.2, output: 'x', calibraton: ['a'] })),
    'unknown option calibraton. Did you mean calibration?',
  ],
  ['a name like none', () => inspect('none', wrong({ zzz: 1 })), 'unknown option zzz. inspect takes signal, onEvent.'],
  [
    'a text for a list',
    () => prune('none', wrong({ sparsity: 0.2, output: 'x', calibration: 'a.txt' })),
    'calibration is "a.txt"; it must be an array or an object.',
  ],
  [
    'a text for a number',
    () => prune('none', wrong({ sparsity: '0.3', output: 'x' })),
    'sparsity is "0.3"; it must be a number.',
  ],
  ['an option of a method', () => prune('none', wrong({ sparsity: 0.2, output: 'x', alpha: 1 })), 'alpha is no option'],
  ['evaluate', () => evaluate('none', wrong({ text: 'a.txt' })), 'text is "a.txt"; it must be an array.'],
  ['perplexity', () => perplexity('none', 'a.txt', wrong({ seqLen: [4] })), 'seqLen is [4]; it must be a number.'],
  ['generate', () => generate('none', 'a', wrong({ maxTokens: '4' })), 'maxTokens is "4"; it must be a number.'],
  ['exportModel', () => exportModel('none', wrong({ output: 'x', to: 'gguf' })), 'to is "gguf"; it must be an array.'],
  [
    'compare',
    () => compare('none', wrong({ output: 'x', methods: 'best' })),
    'methods is "best"; it must be an array.',
  ],
  ['push', () => push('none', 'a/b', wrong({ private: 'yes' })), 'private is "yes"; it must be true or false.'],
  ['no options at all', () => prune('none', wrong('x')), 'prune takes its options as an object, not as "x".'],
])('%s', async ([, call, says]) => {
  await expect(call()).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining(says) })
})
