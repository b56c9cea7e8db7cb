// The documentation site: the documents of this repository as they are, and the API reference, which TypeDoc writes as Markdown from the doc
// comments of what package.json exports. `npm run docs` builds it into dist-docs, for the root of a host; for a folder of one,
// `npm run docs -- --base /folder/` does.
import { existsSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  Application,
  Converter,
  type DeclarationReflection,
  ParameterReflection,
  ReflectionFlag,
  ReflectionKind,
  type TypeDocOptions,
} from 'typedoc'
import type { NavigationItem, PluginOptions } from 'typedoc-plugin-markdown'
import { type DefaultTheme, defineConfig, type MarkdownOptions } from 'vitepress'

const root = fileURLToPath(new URL('../..', import.meta.url))
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const { description } = JSON.parse(read('package.json'))
const ICON = `data:image/svg+xml,${encodeURIComponent(read('web/public/icon.svg'))}`

/** TypeDoc writes here. */
const API = 'dist-api'

/** Documents for users, in the order in which they are read. */
const SIDEBAR: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  Start: {
    'What it is': 'README.md',
    'Step by step': 'docs/guide.md',
    'In the browser': 'docs/web.md',
    Glossary: 'docs/glossary.md',
  },
  Reference: {
    'Command line': 'docs/cli.md',
    API: `${API}/README.md`,
    'Result file': 'docs/result.md',
  },
  Methods: {
    'Methods by name': 'docs/methods.md',
    Formulas: 'docs/method.md',
    'Tasks and measures': 'docs/tasks.md',
  },
  Formats: {
    'Models that are read': 'docs/hub.md',
    'Models that are written': 'docs/output.md',
    GGUF: 'docs/gguf.md',
    ONNX: 'docs/onnx.md',
    'What runs where': 'docs/support.md',
  },
  Quality: {
    Results: 'docs/results.md',
    'More text, and healing': 'docs/quality.md',
    'Time and memory': 'bench/README.md',
    'SmolLM2 135M': 'docs/models/smollm2-135m.md',
    'Gemma 3 270M': 'docs/models/gemma-3-270m.md',
    'Tiny models': 'docs/models/tiny.md',
  },
  Machines: {
    Devices: 'docs/devices.md',
    'Several processes': 'docs/distributed.md',
  },
  Project: {
    Changelog: 'CHANGELOG.md',
    Security: 'SECURITY.md',
    Contributing: 'CONTRIBUTING.md',
  },
}

/** Where a document stands in the site. */
const placeOf = (path: string) =>
  path
    .replace(/^docs\//, '')
    .replace(/^dist-api\//, 'api/')
    .replace(/README\.md$/, 'index.md')

/** An item of the sidebar. VitePress looks for dead links in documents alone, so this stops the build where a document is missing. */
function page(text: string, path: string): DefaultTheme.SidebarItem {
  if (!existsSync(join(root, path))) throw new Error(`the sidebar has ${path}, which is missing`)
  return { text, link: `/${placeOf(path).replace(/(index)?\.md$/, '')}` }
}

/** How a document is read that is written for GitHub. */
const asWritten: MarkdownOptions['config'] = md => {
  // Links lead to where documents stand in the site. A link to a file that is no document (LICENSE, src) becomes its text.
  md.core.ruler.push('links', ({ tokens, env }) => {
    for (const inline of tokens)
      for (const [i, open] of (inline.children ?? []).entries()) {
        const [, file, hash = ''] = /^([^:#/][^:#]*)(#.*)?$/.exec(open.attrGet('href') ?? '') ?? []
        if (!file) continue
        const path = posix.join(posix.dirname(posix.relative(root, env.realPath ?? env.path)), file)
        if (path.endsWith('.md')) open.attrSet('href', `/${placeOf(path)}${hash}`)
        else
          for (const one of [open, inline.children![i + 2]])
            Object.assign(one, { type: 'text', content: '', nesting: 0 })
      }
  })
  // Documents have no HTML but comments: `<folder>` in a sentence is text, which Vue would take for a component.
  md.core.ruler.push('tags', ({ tokens }) => {
    for (const one of tokens.flatMap(({ children }) => children ?? []))
      if (one.type === 'html_inline' && !one.content.startsWith('<!--')) one.type = 'text'
  })
  // The theme has a style for fenced code alone. Formulas are indented.
  md.core.ruler.push('code', ({ tokens }) => {
    for (const one of tokens) if (one.type === 'code_block') Object.assign(one, { type: 'fence', info: 'text' })
  })
}

/** Anchors as GitHub makes them, which the documents link to. */
const slugify = (heading: string) =>
  heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replace(/\s/g, '-')

/** The search leaves out the log and the decisions, which record past work: a reader looks for the present state. */
const searched: DefaultTheme.LocalSearchOptions['_render'] = (text, env, md) =>
  /\b(log|decisions)\.md$/.test(env.relativePath) ? '' : md.render(text, env)

/**
 * TypeDoc takes a verb for a constant, since `promised` or `checked` returns it: `(...args: [source: string, options: Options]) => Result`.
 * This makes it a function whose parameters have names.
 */
function asFunction(of: DeclarationReflection): void {
  const signature = of.type?.type === 'reflection' && of.type.declaration.signatures?.[0]
  if (!signature) return
  const rest = signature.parameters?.[0]
  if (rest?.type?.type === 'tuple')
    signature.parameters = rest.type.elements.flatMap(element => {
      if (element.type !== 'namedTupleMember') return []
      const parameter = new ParameterReflection(element.name, ReflectionKind.Parameter, signature)
      parameter.setFlag(ReflectionFlag.Optional, element.isOptional)
      parameter.type = element.element
      return parameter
    })
  Object.assign(signature, { name: of.name, comment: of.comment, parent: of })
  Object.assign(of, { kind: ReflectionKind.Function, signatures: [signature], type: undefined, comment: undefined })
}

/** Writes the API reference. @returns its sidebar */
async function writeApi(): Promise<DefaultTheme.SidebarItem[]> {
  const app = await Application.bootstrapWithPlugins({
    plugin: ['typedoc-plugin-markdown'],
    entryPoints: ['src/node.ts', 'src/web.ts'].map(path => join(root, path)),
    tsconfig: join(root, 'tsconfig.json'),
    out: join(root, API),
    navigationJson: join(root, API, 'navigation.json'),
    name: 'API',
    readme: 'none',
    skipErrorChecking: true, // `npm run typecheck` finds errors
    disableSources: true, // the site has no sources
    excludeReferences: true, // what both have is shown once
    groupOrder: ['Functions', 'Interfaces', 'Type Aliases', 'Variables', 'Classes'],
    jsDocCompatibility: { defaultTag: false }, // a default is prose
    validation: { notExported: false }, // types that are seen inside others alone have no page
    hidePageHeader: true,
    hideBreadcrumbs: true,
  } as Partial<TypeDocOptions & PluginOptions>)
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const one of project.getReflectionsByKind(ReflectionKind.Variable)) asFunction(one as DeclarationReflection)
  })
  app.converter.on(Converter.EVENT_RESOLVE_END, ({ project }) => {
    for (const one of Object.values(project.reflections) as DeclarationReflection[]) one.inheritedFrom = undefined // noise
  })
  const project = await app.convert()
  if (project) await app.generateOutputs(project)
  if (app.logger.hasErrors() || app.logger.hasWarnings()) throw new Error('TypeDoc found faults, see above')
  const item = ({ title, path, children }: NavigationItem): DefaultTheme.SidebarItem => ({
    ...(path ? page(title, `${API}/${path}`) : { text: title, collapsed: title !== 'Functions' }),
    items: children?.map(item),
  })
  return JSON.parse(read(`${API}/navigation.json`)).map(item)
}

export default defineConfig({
  title: 'fasp',
  description,
  head: [
    ['link', { rel: 'icon', href: ICON }],
    ['style', {}, '.VPDoc.has-aside .content-container { max-width: 860px !important }'], // help texts and tables are wide
  ],
  srcDir: '..',
  srcExclude: ['bench/results/**', 'out*/**', 'test/**'],
  outDir: '../dist-docs',
  rewrites: placeOf,
  markdown: { config: asWritten, anchor: { slugify } },
  vite: { build: { chunkSizeWarningLimit: 2000 } }, // the index of the search, which is fetched when a reader searches
  themeConfig: {
    logo: ICON,
    search: { provider: 'local', options: { _render: searched } },
    outline: [2, 3],
    nav: [
      { text: 'Guide', link: '/guide' },
      { text: 'Command line', link: '/cli' },
      { text: 'API', link: '/api/' },
      { text: 'Changelog', link: '/CHANGELOG' },
    ],
    sidebar: {
      '/api/': await writeApi(),
      '/': Object.entries(SIDEBAR).map(([text, items]) => ({
        text,
        items: Object.entries(items).map(([title, path]) => page(title, path)),
      })),
    },
  },
})
