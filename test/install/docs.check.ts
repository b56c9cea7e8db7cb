// The documentation site as `npm run docs` builds it: its pages, its search, and that each link leads somewhere.
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { beforeAll, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const site = join(root, 'dist-docs')
const read = (path: string) => readFileSync(join(site, path), 'utf8')
let files: string[]

beforeAll(async () => {
  await promisify(execFile)('npm', ['run', '--silent', 'docs'], { cwd: root })
  files = readdirSync(site, { recursive: true, encoding: 'utf8' }).map(name => name.replaceAll('\\', '/'))
})

test('the site has the documents and the API reference', () => {
  expect(read('index.html')).toContain('makes language models smaller')
  expect(read('guide.html')).toContain('id="1-choose-a-model"')
  expect(read('cli.html')).toContain('id="fasp-prune"')
  const prune = read('api/fasp/functions/prune.html')
  expect(prune).toContain('href="/api/fasp/interfaces/PrunePathOptions.html"')
  expect(prune).toContain('id="source"') // a parameter, by its name
  expect(files).toContain('api/fasp/web/functions/prune.html')
})

test('the search finds what is in documents and in the API reference', () => {
  const [index] = files.filter(name => name.includes('@localSearchIndex'))
  for (const place of ['/guide.html#4-prune', '/cli.html#fasp-heal', '/api/fasp/functions/evaluate.html'])
    expect(read(index)).toContain(place)
})

test('each link within the site leads to a page, and to a heading that is there', () => {
  const pages = files.filter(name => name.endsWith('.html'))
  const ids = new Map(pages.map(name => [name, new Set([...read(name).matchAll(/ id="([^"]+)"/g)].map(m => m[1]))]))
  const dead = new Set<string>()
  for (const name of pages)
    for (const [, href] of read(name).matchAll(/<a [^>]*?href="((?!\w+:)[^"]*)"/g)) {
      const { pathname, hash } = new URL(href, `http://site/${name}`)
      const found = ids.get(
        decodeURIComponent(pathname)
          .slice(1)
          .replace(/(^|\/)$/, '$1index.html'),
      )
      if (!found || (hash && !found.has(decodeURIComponent(hash.slice(1))))) dead.add(`${name}: ${href}`)
    }
  expect(pages.length).toBeGreaterThan(200)
  expect([...dead]).toEqual([])
})
