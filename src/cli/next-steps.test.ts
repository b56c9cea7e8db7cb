import { expect, test } from 'vitest'
import { nextCommands } from './next-steps.ts'

test('a model with a chat template is asked by that, and a GGUF file is timed, as push takes folders', () => {
  const commands = (output: string, chat: boolean) => nextCommands('org/name', output, 'wikitext2', chat).split('\n')
  expect(commands('a/small', true)).toEqual([
    'Next: try it, measure it, share it.',
    "  fasp generate a/small --chat -p 'Who are you?'",
    '  fasp eval a/small --dense org/name --text wikitext2',
    '  fasp push a/small your-name/small',
  ])
  expect(commands('small.gguf', false)[1]).toBe("  fasp generate small.gguf -p 'Once upon a time'")
  expect(nextCommands('org/name', 'small', 'my.txt', false, false)).toContain('\n  fasp eval small --text my.txt\n')
  expect(commands('small.gguf', false)[3]).toBe('  fasp bench org/name small.gguf')
})
