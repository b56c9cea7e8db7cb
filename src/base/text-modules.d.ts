// These files are bundled as text: `loader` in tsdown.config.ts, a plugin in vitest.config.ts.
declare module '*.html' {
  const text: string
  export default text
}
declare module '*.py' {
  const text: string
  export default text
}
