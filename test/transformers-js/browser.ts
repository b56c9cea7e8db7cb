// A server of one folder of models on this machine, and Chromium to open its page: how a web site runs transformers.js.
import { createReadStream, statSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname, extname, join, normalize, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openChromium } from '../chromium.ts'

const here = dirname(fileURLToPath(import.meta.url))
const modules = resolve(here, '../../node_modules')
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
}
/** Serves page, transformers.js with its WebAssembly, and `models`. Other paths are not there. */
async function serve(models: string) {
  const roots: Readonly<Record<string, string>> = {
    page: here,
    models,
    transformers: join(modules, '@huggingface/transformers/dist'),
    'onnxruntime-web': join(modules, 'onnxruntime-web/dist'),
  }
  const server = createServer((request, response) => {
    const [, root, ...rest] = normalize(new URL(request.url!, 'http://localhost').pathname).split('/')
    const path = join(roots[root] ?? '/nowhere', ...rest)
    const size = statSync(path, { throwIfNoEntry: false })
    if (!roots[root] || !size?.isFile()) return response.writeHead(404).end()
    response.writeHead(200, {
      'content-type': TYPES[extname(path)] ?? 'application/octet-stream',
      'content-length': size.size,
      // Threads of WebAssembly share memory, which a page may only when isolated.
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-embedder-policy': 'require-corp',
    })
    createReadStream(path).pipe(response)
  })
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => server.close() }
}

type Result = { text: string; seconds: number; error?: string }

export interface Continuation {
  /** Below the folder of models. */
  readonly model: string
  readonly dtype: string
  readonly prompt: string
  readonly tokens: number
}

/** Chromium with the page, for the models in a folder. */
export async function openBrowser(models: string) {
  const server = await serve(models)
  const browser = await openChromium().catch(error => {
    server.close()
    throw error
  })
  return {
    /** What the page found. @throws where it found nothing in three minutes */
    async generate(
      { tokens, ...asked }: Continuation,
      screenshot?: string,
    ): Promise<{ text: string; seconds: number }> {
      const page = await browser.newPage()
      try {
        const said: string[] = []
        page.on('pageerror', error => said.push(String(error)))
        page.on('console', message => message.type() === 'error' && said.push(message.text()))
        await page.goto(`${server.origin}/page/page.html?${new URLSearchParams({ ...asked, tokens: String(tokens) })}`)
        const handle = await page
          .waitForFunction<Result>('window.result', undefined, { timeout: 180_000 })
          .catch(error => {
            throw new Error([error.message, ...said].join('\n'))
          })
        const result = await handle.jsonValue()
        if (result.error) throw new Error([result.error, ...said].join('\n'))
        if (screenshot) await page.screenshot({ path: screenshot })
        return result
      } finally {
        await page.close()
      }
    },
    async close() {
      await browser.close()
      server.close()
    },
  }
}
