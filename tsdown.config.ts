import { defineConfig } from 'tsdown'
import { licences } from './scripts/licences.ts'

export default defineConfig({
  entry: {
    node: 'src/node.ts',
    web: 'src/web.ts',
    cli: 'src/cli/cli.ts',
    main: 'src/cli/main.ts', // the worker of it
    run: 'src/cli/run.ts', // what it runs, which tests run in their own process
    postinstall: 'src/engine/ort/postinstall.node.ts',
    // Started as processes of their own.
    'llama-cpp-child': 'src/write/verify/llama-cpp-child.node.ts',
    'compare-child': 'src/compare/child.node.ts',
    'transformers-js-child': 'src/write/verify/transformers-js-child.node.ts',
  },
  format: 'esm',
  platform: 'node',
  target: 'node20',
  fixedExtension: false,
  // What src imports from devDependencies is bundled: the libraries of charts, in a file that only charts load.
  deps: { onlyBundle: false },
  outputOptions: { codeSplitting: { groups: [{ name: 'chart-libraries', test: /[\\/]node_modules[\\/]/ }] } },
  inputOptions: { resolve: { symlinks: false } }, // where node_modules is a link, its target stays out of dist
  plugins: [licences().write],
  // src/write/huggingface/python goes beside compact models; src/report/page.html is filled in.
  loader: { '.py': 'text', '.html': 'text' },
  dts: { sourcemap: false },
  sourcemap: false,
})
