// Licences ask to go wherever the code goes: a plugin that writes those of all packages that are bundled into one file. Used for dist
// (tsdown.config.ts) and for the page's own script in it (web/vite.config.ts).
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

interface Output {
  emitFile(file: { type: 'asset'; fileName: string; source: string }): unknown
  error(message: string): never
}

export const licences = {
  name: 'licences',
  generateBundle(this: Output, _options: unknown, bundle: Readonly<Record<string, { moduleIds?: readonly string[] }>>) {
    const modules = Object.values(bundle).flatMap(({ moduleIds = [] }) => moduleIds)
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
