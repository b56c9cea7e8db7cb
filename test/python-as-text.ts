// For every configuration of vitest: `.py` files are imported as text, as `loader` in tsdown.config.ts has it.
export const pythonAsText = {
  name: 'python-as-text',
  transform: (code: string, id: string) => (id.endsWith('.py') ? `export default ${JSON.stringify(code)}` : undefined),
}
