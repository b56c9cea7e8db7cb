import { defineConfig } from 'tsdown'

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    node: 'src/node.ts',
    cli: 'src/cli/cli.ts',
    main: 'src/cli/main.ts', // the worker of it
    // Started as processes of their own.
    'llama-cpp-child': 'src/export/llama-cpp-child.node.ts',
    'compare-child': 'src/compare/child.node.ts',
    'transformers-js-child': 'src/export/transformers-js-child.node.ts',
  },
  format: 'esm',
  platform: 'node',
  target: 'node20',
  fixedExtension: false,
  // src/write/python goes beside compact models; src/report/page.html is filled in.
  loader: { '.py': 'text', '.html': 'text' },
  dts: { sourcemap: false },
  sourcemap: false,
})
