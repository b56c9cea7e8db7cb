// What to do with a pruned model: commands that can be typed as they stand.
import { baseName, isGgufFile } from '../base/display.ts'

/**
 * @param source as the user named it @param text to measure on, which the machine has or fetches
 * @param chat whether it has a template for that @param comparable token by token, as with the same vocabulary
 */
export function nextCommands(source: string, output: string, text: string, chat: boolean, comparable = true): string {
  const commands = [
    ['generate', output, ...(chat ? ['--chat', '-p', 'Who are you?'] : ['-p', 'Once upon a time'])],
    ['eval', output, ...(comparable ? ['--dense', source] : []), '--text', text],
    isGgufFile(output)
      ? ['bench', source, output]
      : ['push', output, `your-name/${baseName(output).replace(/[^\w.-]+/g, '-')}`],
  ]
  return `Next: try it, measure it, ${isGgufFile(output) ? 'time it' : 'share it'}.\n${lines(commands)}`
}

/** What to do with a healed model, which is a folder. */
export const healedCommands = (dense: string, output: string): string =>
  `Next: measure it, export it.\n${lines([
    ['eval', output, '--dense', dense, '--text', 'wikitext2'],
    ['export', output, '--to', 'gguf', '-o', `${output.replace(/\/+$/, '')}.gguf`],
  ])}`

const lines = (commands: readonly (readonly string[])[]): string =>
  commands.map(words => `  fasp ${words.map(quoted).join(' ')}`).join('\n')

/** For a POSIX shell, or that of Windows. */
const quoted = (word: string): string =>
  /^[\w@%+=:,./\\-]+$/.test(word)
    ? word
    : process.platform === 'win32'
      ? `"${word}"`
      : `'${word.replaceAll("'", String.raw`'\''`)}'`
