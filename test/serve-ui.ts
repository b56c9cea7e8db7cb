// `fasp ui` as a user starts it, and a page that asks it.
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { join } from 'node:path'
import type { Answer, Ask, CallName, Said, Told } from '../src/page/protocol.ts'
import { CLI } from './fasp.ts'

export interface Served {
  readonly url: string
  readonly port: number
  readonly child: ChildProcess
  /** All that it has printed. */
  readonly said: () => string
  /** Its exit code, or the name of the signal that ended it. */
  readonly ended: Promise<number | string | null>
  /** @param onTold also gets what hangs up, as a tab that is closed */
  call<N extends CallName>(name: N, ask: Ask<N>, onTold?: (told: Told, hangUp: () => void) => void): Promise<Answer<N>>
  kill(signal?: NodeJS.Signals): Promise<void>
}

/** @param folder the current one; its cache folder is in it */
export async function serveUi(folder: string, ...args: string[]): Promise<Served> {
  if (!existsSync(CLI)) throw new Error('dist/cli.js is missing: npm run build')
  const env = { ...process.env, FASP_LOG: '', XDG_CACHE_HOME: join(folder, 'cache') }
  const child = spawn(process.execPath, [CLI, 'ui', ...args], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  const ended = new Promise<number | string | null>(resolve => child.on('close', (code, by) => resolve(code ?? by)))
  const url = await new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', text => {
        said += text
        const [found] = /^http:\S+(?=\n)/m.exec(said) ?? []
        if (found && said.includes('Ctrl-C')) resolve(found)
      })
    void ended.then(() => reject(new Error(`fasp ui has ended: ${said}`)))
  })
  const { port, hash, origin } = new URL(url)
  const headers = { Origin: origin, Authorization: `Bearer ${hash.slice(1)}` }
  return {
    ...{ url, child, ended, port: Number(port), said: () => said },
    async call(name, ask, onTold) {
      const answer = await send(Number(port), { headers, body: JSON.stringify({ name, ask }) })
      let text = ''
      for await (const part of answer.setEncoding('utf8')) {
        const lines: string[] = (text + part).split('\n')
        text = lines.pop()!
        for (const line of lines) {
          const said = JSON.parse(line) as Said
          if (said.type === 'told') onTold?.(said.told, () => answer.destroy())
          else if (said.type === 'done') return said.answer as Answer<typeof name>
          else throw new Error(said.message)
        }
      }
      throw new Error(`no end of ${name}: ${text}`)
    },
    async kill(signal = 'SIGKILL') {
      child.kill(signal)
      await ended
    },
  }
}

interface Sent {
  readonly path?: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly host?: string
}

/** A request with headers that no page may choose. */
export const send = (port: number, { path = '/api', method = 'POST', headers, body, host = '127.0.0.1' }: Sent) =>
  new Promise<IncomingMessage>((resolve, reject) => {
    const sent = request({ host, port, path, method, headers: { ...headers }, agent: false }, resolve)
    sent.on('error', reject).end(body)
  })
