// For every configuration of vitest: files that are imported as text, as `loader` in tsdown.config.ts has it.
const TEXT = /\/src\/.*\.(py|html)$/

export const pythonAsText = {
  name: 'python-as-text',
  enforce: 'pre' as const,
  transform: (code: string, id: string) =>
    TEXT.test(id) ? { code: `export default ${JSON.stringify(code)}`, moduleType: 'js' } : undefined,
}
