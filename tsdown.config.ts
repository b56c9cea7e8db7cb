import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { defineConfig, type Rolldown } from 'tsdown'

/** Licences ask to go wherever the code goes: those of all packages that are bundled, in one file. */
const licences: Rolldown.Plugin = {
  name: 'licences',
  generateBundle(_options, bundle) {
    const modules = Object.values(bundle).flatMap(file => (file.type === 'chunk' ? file.moduleIds : []))
    const packageOf = (id: string) => /^.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+/.exec(id)?.[0] ?? []
    const parts = [...new Set(modules.flatMap(packageOf))].map(folder => {
      const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
      const texts = readdirSync(folder).filter(file => /^(licen[cs]e|copying|notice)/i.test(file))
      if (texts.length === 0) this.error(`${folder} is bundled and has no file with its licence`)
      return [`${name} ${version} (${license})`, ...texts.map(file => readFileSync(join(folder, file), 'utf8').trim())]
    })
    const source = parts.map(part => `${part.join('\n\n')}\n`).sort()
    this.emitFile({ type: 'asset', fileName: 'THIRD-PARTY.txt', source: source.join(`\n${'-'.repeat(80)}\n\n`) })
  },
}

export default defineConfig({
  entry: {
    node: 'src/node.ts',
    web: 'src/web.ts',
    cli: 'src/cli/cli.ts',
    main: 'src/cli/main.ts', // the worker of it
    postinstall: 'src/cli/postinstall.ts',
    // Started as processes of their own.
    'llama-cpp-child': 'src/export/llama-cpp-child.node.ts',
    'compare-child': 'src/compare/child.node.ts',
    'transformers-js-child': 'src/export/transformers-js-child.node.ts',
  },
  format: 'esm',
  platform: 'node',
  target: 'node20',
  fixedExtension: false,
  // What src imports from devDependencies is bundled: the libraries of charts, in a file that only charts load.
  deps: { onlyBundle: false },
  outputOptions: { codeSplitting: { groups: [{ name: 'chart-libraries', test: /[\\/]node_modules[\\/]/ }] } },
  inputOptions: { resolve: { symlinks: false } }, // where node_modules is a link, its target stays out of dist
  plugins: [licences],
  // src/write/python goes beside compact models; src/report/page.html is filled in.
  loader: { '.py': 'text', '.html': 'text' },
  dts: { sourcemap: false },
  sourcemap: false,
})
