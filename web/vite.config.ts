// Builds the page to static files in dist-web, and serves them. Nothing in it asks another host.
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig, type Plugin } from 'vite'

const root = fileURLToPath(new URL('.', import.meta.url))
const TINY = join(root, '../assets/tiny-llama')
const ORT = join(dirname(createRequire(import.meta.url).resolve('onnxruntime-web')))
/** What the two builds of the runtime load by address: for WebAssembly alone, and for WebGPU. */
const RUNTIME = ['', '.asyncify'].flatMap(kind => [
  `ort-wasm-simd-threaded${kind}.mjs`,
  `ort-wasm-simd-threaded${kind}.wasm`,
])

/** Only this page's own files; WebAssembly may be compiled, text may not become a script. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "worker-src 'self'",
  "connect-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
].join('; ')

/** As a host should send them. The policy is in the page, too, for hosts that send none. */
export const HEADERS = {
  'Content-Security-Policy': `${POLICY}; frame-ancestors 'none'`,
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
}

/** Files that are imported as text, as in vitest.config.ts. */
const text = (): Plugin => ({
  name: 'text',
  enforce: 'pre',
  transform: (code, id) =>
    /\/src\/.*\.(py|html)$/.test(id) ? { code: `export default ${JSON.stringify(code)}`, moduleType: 'js' } : undefined,
})

/** Modules that only say what there is: where nothing of them is used, what they import goes, too. */
const QUIET = /\/(src|node_modules\/(@bufbuild|onnx-buf))\//
const rolldownOptions = { treeshake: { moduleSideEffects: (id: string) => !QUIET.test(id) } }

const page: Plugin = {
  name: 'page',
  transformIndexHtml: {
    order: 'post',
    handler: html =>
      html.replace('<meta name="viewport"', `<meta http-equiv="Content-Security-Policy" content="${POLICY}">\n$&`),
  },
  generateBundle() {
    const emit = (folder: string, name: string, from: string) =>
      this.emitFile({ type: 'asset', fileName: `${folder}/${name}`, source: readFileSync(join(from, name)) })
    for (const name of RUNTIME) emit('ort', name, ORT)
    for (const name of readdirSync(TINY)) emit('tiny-llama', name, TINY)
  },
}

export default defineConfig({
  root,
  base: './',
  appType: 'mpa', // what is not there is not there
  plugins: [text(), page],
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  resolve: { conditions: ['onnxruntime-web-use-extern-wasm', 'module', 'browser', 'production'] },
  worker: { format: 'es', plugins: () => [text()], rolldownOptions },
  build: {
    rolldownOptions,
    outDir: '../dist-web',
    emptyOutDir: true,
    target: 'es2023',
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1000,
    reportCompressedSize: false,
  },
  preview: { headers: HEADERS, host: '127.0.0.1' },
})
