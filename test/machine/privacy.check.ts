// Nothing phones home and nothing is left anywhere: what the demo asks of the kernel, in a home of its own. Here and in a worker of the library.
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { fasp, put, TINY_LLAMA, workplaces } from '../fasp.ts'

const workplace = workplaces()
const LIBRARY = fileURLToPath(new URL('../../dist/node.js', import.meta.url))
const CALLS = [
  'socket',
  'connect',
  'sendto',
  'sendmsg',
  'open',
  'openat',
  'creat',
  'mkdir',
  'mkdirat',
  'rename',
  'symlink',
]

/** Runs with a home, a temporary and a current folder of its own. @returns the calls that reach out or write */
async function traced(act: (wrap: readonly string[], env: Record<string, string>, folder: string) => Promise<unknown>) {
  const folder = await workplace({ 'home/.keep': '', 'tmp/.keep': '', 'here/.keep': '' })
  const log = join(folder, 'calls')
  // Without CI, ORT_…: there, ONNX Runtime is silent by itself.
  const env = { HOME: join(folder, 'home'), TMPDIR: join(folder, 'tmp'), PATH: process.env.PATH!, FASP_LOG: '' }
  await act(
    ['env', '-u', 'CI', '-u', 'ORT_DISABLE_TELEMETRY', 'strace', '-f', '-o', log, '-e', `trace=${CALLS}`],
    env,
    folder,
  )
  const lines = readFileSync(log, 'utf8').split('\n')
  expect(lines.length).toBeGreaterThan(100)
  expect(['home', 'tmp', 'here'].flatMap(name => readdirSync(join(folder, name)))).toEqual(['.keep', '.keep', '.keep'])
  const network = lines.filter(line => /AF_INET|resolv\.conf|:53\b|htons/.test(line))
  const written = lines.filter(line => /O_WRONLY|O_RDWR|O_CREAT|creat\(|mkdir|rename|symlink/.test(line))
  return {
    network,
    written: written.filter(line => !/"\/dev\/(?!shm\/)|ENOENT|EEXIST/.test(line)),
    tmp: join(folder, 'tmp'),
    folder,
  }
}

describe('with nothing said against telemetry, no name is looked up and no file written', () => {
  test('by the demo but in its own temporary folder', async () => {
    const { network, written, tmp } = await traced(async (wrap, env, folder) => {
      const { code, stderr } = await fasp(['demo'], { folder: join(folder, 'here'), wrap, env })
      expect(code, stderr).toBe(0)
    })
    expect(network).toEqual([])
    expect(written.length).toBeGreaterThan(0)
    expect(written.filter(line => !line.includes(`"${tmp}/fasp-demo.`))).toEqual([])
  }, 300_000)

  const QUICK = ['--windows', '2', '--calibration', '../text.txt', '--seq-len', '32']
  test.for<[string, ...string[]]>([
    ['compare', '--methods', 'paper', '-s', '0.2', '--text', '../text.txt', ...QUICK, '-o', '../out/r.json'],
    ['export', '--to', 'onnx', '--verify', '-o', '../out/onnx'],
  ])('by %s and its processes but beside its result', { timeout: 120_000 }, async ([command, ...args]) => {
    const { network, written, folder } = await traced(async (wrap, env, folder) => {
      await put(folder, { 'out/.keep': '' })
      const { code, stderr } = await fasp([command, TINY_LLAMA, ...args], { folder: join(folder, 'here'), wrap, env })
      expect(code, stderr).toBe(0)
      if (command === 'export') expect(stderr).toContain('transformers.js')
    })
    expect(network).toEqual([])
    expect(written.length).toBeGreaterThan(0)
    expect(written.filter(line => !line.includes(`"${folder}/out/`))).toEqual([])
  })

  test.for(['shared', 'copied'])('by the library in a worker with a %s environment', async kind => {
    const { network, written } = await traced(async (wrap, env, folder) => {
      const evaluate = `import { evaluate } from ${JSON.stringify(LIBRARY)}
        await evaluate(${JSON.stringify(TINY_LLAMA)}, { text: ['text.txt'], seqLen: 32, windows: 1 });
        console.log('measured')`
      const start = `import { SHARE_ENV, Worker } from 'node:worker_threads'
        new Worker(new URL('evaluate.mjs', import.meta.url), ${kind === 'shared' ? '{ env: SHARE_ENV }' : '{}'})`
      await put(folder, { 'evaluate.mjs': evaluate, 'start.mjs': start, 'text.txt': 'Once upon a time. '.repeat(40) })
      const [command, ...rest] = [...wrap, process.execPath, 'start.mjs']
      const { stdout } = await promisify(execFile)(command, rest, { cwd: folder, env })
      expect(stdout).toBe('measured\n')
    })
    expect(network).toEqual([])
    expect(written).toEqual([])
  })
})
