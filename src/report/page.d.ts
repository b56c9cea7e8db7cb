// Bundled as its text: `loader` in tsdown.config.ts, a plugin in vitest.config.ts.
declare module '*.html' {
  const text: string
  export default text
}
