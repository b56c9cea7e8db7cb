// Builds the page to static files in dist-web, and serves them. In the mode `package` dist/page gets what `fasp ui`
// serves of it: no workers, nothing for them. Nothing in it asks another host.
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig, type Plugin } from 'vite'
import { licences } from '../scripts/licences.ts'
import { HUB, headersWith, POLICY, policyWith } from '../src/page/headers.ts'

const root = fileURLToPath(new URL('.', import.meta.url))
const SERVED = join(root, '../dist/page')
/** Another Hub, and the stores that it sends to: FASP_HUB='https://hub.example https://files.example'. */
const hub = process.env.FASP_HUB?.split(' ') ?? HUB
const TINY = join(root, '../assets/tiny-llama')
const ORT = join(dirname(createRequire(import.meta.url).resolve('onnxruntime-web')))
/** What the two builds of the runtime load by address: for WebAssembly alone, and for WebGPU. */
const RUNTIME = ['', '.asyncify'].flatMap(kind => [
  `ort-wasm-simd-threaded${kind}.mjs`,
  `ort-wasm-simd-threaded${kind}.wasm`,
])

/** Files that are imported as text, as in vitest.config.ts. Renamed, since Vite makes pages of what ends in .html. */
const text = (): Plugin => ({
  name: 'text',
  enforce: 'pre',
  resolveId: (source, importer) =>
    /\.(py|html)$/.test(source) && importer?.includes('/src/') ? join(dirname(importer), `${source}.text`) : undefined,
  load(id) {
    if (!id.endsWith('.text')) return undefined
    const code = `export default ${JSON.stringify(readFileSync(id.slice(0, -'.text'.length), 'utf8'))}`
    return { code, moduleType: 'js' }
  },
})

const XET =
  'MerkleHashSubtree createChunker fileHash finalize hashToHex hexToBytes hmac nextBlock verificationHash xorbHash'

/** Modules that the page does without, and what stands for them. */
const STUBS: readonly (readonly [RegExp, string])[] = [
  // What @huggingface/hub imports for transfers by Xet, which we never ask it for (src/hub/upload.ts).
  [/^@huggingface\/xetchunk-wasm$/, `export const ${XET.replaceAll(' ', ' = null, ')} = null`],
  // Options of calls: TypeScript has checked those of the page, and its fields are checked where options are resolved.
  [/\/call-check\.ts$/, 'export const checkedOn = () => (_, verb) => verb'],
]
const stubs = (): Plugin => ({
  name: 'stubs',
  enforce: 'pre',
  resolveId: source => {
    const i = STUBS.findIndex(([name]) => name.test(source))
    return i < 0 ? undefined : `\0stub ${i}`
  },
  load: id => (id.startsWith('\0stub ') ? STUBS[Number(id.slice(6))][1] : undefined),
})

/** Of Jinja we render alone: its formatter of templates goes. */
const withoutFormat = (): Plugin => ({
  name: 'without-format',
  transform: (code, id) =>
    id.includes('@huggingface/jinja')
      ? code.replace('return format(this.parsed, options?.indent || "\t");', '')
      : undefined,
})

/** Modules that only say what there is: where nothing of them is used, what they import goes, too. */
const QUIET = /\/(src|node_modules\/(@bufbuild|onnx-buf))\//
const rolldownOptions = {
  treeshake: { propertyReadSideEffects: false as const, moduleSideEffects: (id: string) => !QUIET.test(id) },
}

const page = (policy: string): Plugin => ({
  name: 'page',
  transformIndexHtml: {
    order: 'post',
    handler: html =>
      html.replace('<meta name="viewport"', `<meta http-equiv="Content-Security-Policy" content="${policy}">\n$&`),
  },
  generateBundle() {
    const emit = (folder: string, name: string, from: string) =>
      this.emitFile({ type: 'asset', fileName: `${folder}/${name}`, source: readFileSync(join(from, name)) })
    for (const name of RUNTIME) emit('ort', name, ORT)
    for (const name of readdirSync(TINY)) emit('tiny-llama', name, TINY)
  },
})

/** What `fasp ui` serves, as a part of the package: `npm run build` has it. */
const served: Plugin = {
  name: 'served',
  apply: (_, { mode }) => mode === 'package',
  writeBundle({ dir }, bundle) {
    const loaded = Object.values(bundle).filter(
      ({ fileName: name, type }) => /\.(html|css|txt)$/.test(name) || type === 'chunk',
    )
    const names = ['icon.svg', ...loaded.map(({ fileName }) => fileName)]
    rmSync(SERVED, { recursive: true, force: true })
    mkdirSync(join(SERVED, 'assets'), { recursive: true })
    for (const name of names) copyFileSync(join(dir!, name), join(SERVED, name))
  },
}

const { collect, write } = licences()

process.env.NODE_ENV = 'production' // wherever it is built, as in a test: the same files

export default defineConfig(({ mode }) => ({
  root,
  base: './',
  appType: 'mpa', // what is not there is not there
  plugins: [text(), stubs(), page(mode === 'package' ? POLICY : policyWith(hub)), write, served],
  define: { FASP_HUB: JSON.stringify(hub[0]), FASP_LOCAL: String(mode === 'package') },
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  resolve: { conditions: ['onnxruntime-web-use-extern-wasm', 'module', 'browser', 'production'] },
  worker: {
    format: 'es',
    plugins: () => [text(), stubs(), withoutFormat(), ...(mode === 'package' ? [] : [collect])],
    rolldownOptions,
  },
  build: {
    rolldownOptions: { ...rolldownOptions, output: { codeSplitting: mode !== 'package' } },
    outDir: '../dist-web',
    emptyOutDir: true,
    target: 'es2023',
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1000,
    reportCompressedSize: false,
  },
  preview: { headers: headersWith(policyWith(hub)), host: '127.0.0.1' },
}))
