// Licences ask to go wherever the code goes: a plugin that writes those of all packages that are bundled into one file. Used for dist
// (tsdown.config.ts) and for the page's own script in it (web/vite.config.ts).
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

interface Output {
  emitFile(file: { type: 'asset'; fileName: string; source: string }): unknown
  error(message: string): never
}

type Bundle = Readonly<Record<string, { moduleIds?: readonly string[] }>>

/** Two plugins: `write` writes the file, with the packages of the bundles that `collect` has seen before, those of workers. */
export function licences() {
  const folders = new Set<string>()
  const packageOf = (id: string) => /^.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+/.exec(id)?.[0] ?? []
  const add = (bundle: Bundle) => {
    const modules = Object.values(bundle).flatMap(({ moduleIds = [] }) => moduleIds)
    for (const folder of modules.flatMap(packageOf)) folders.add(folder)
  }
  const collect = { name: 'packages', generateBundle: (_: unknown, bundle: Bundle) => add(bundle) }
  const write = {
    name: 'licences',
    generateBundle(this: Output, _options: unknown, bundle: Bundle) {
      add(bundle)
      const parts = [...folders].map(folder => {
        const { name, version, license, repository } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
        const files = readdirSync(folder).filter(file => /^(licen[cs]e|copying|notice)/i.test(file))
        const texts = files.map(file => readFileSync(join(folder, file), 'utf8').trim())
        if (texts.length === 0 && !repository?.url)
          this.error(`${folder} is bundled and says nowhere what its licence is`)
        if (texts.length === 0) texts.push(`Its package has no file of it: see ${repository.url}`)
        return [`${name} ${version} (${license})`, ...texts]
      })
      const source = parts.map(part => `${part.join('\n\n')}\n`).sort()
      this.emitFile({ type: 'asset', fileName: 'THIRD-PARTY.txt', source: source.join(`\n${'-'.repeat(80)}\n\n`) })
    },
  }
  return { collect, write }
}
