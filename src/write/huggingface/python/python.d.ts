// Python files are bundled as their text: `loader` in tsdown.config.ts, a plugin in vitest.config.ts.
declare module '*.py' {
  const text: string
  export default text
}
