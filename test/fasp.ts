// Runs the built binary as a user does, in a folder of its own, and compares what is on disk before and after.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, vi } from 'vitest'
import { newOwner } from '../src/base/unfinished.node.ts'

export const CLI = fileURLToPath(new URL('../dist/cli.js', import.meta.url))
const RUN = new URL('../dist/run.js', import.meta.url).href
/** The model that ships with the package. */
export const TINY_LLAMA = fileURLToPath(new URL('../assets/tiny-llama', import.meta.url))

/** 6,000 tokens or so of tiny-llama, whose training text had these words. */
export const TEXT = 'It was a dark night, and the little girl said that she was not afraid of the wood.\n'.repeat(240)

/** Windows so few and short that a run takes a second. */
export const QUICK = ['--calibration', 'text.txt', '--windows', '4', '--seq-len', '32']

export interface Run {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Codes of a command that SIGINT has ended. Where it does not end within a second it dies of that: 130 in a shell, either way. */
export const INTERRUPTED: readonly Run['code'][] = [130, null]

export interface RunOptions {
  readonly folder: string
  /** Command that gets `node dist/cli.js …` as its last arguments. */
  readonly wrap?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** What comes through a pipe. */
  readonly input?: string
  readonly onStart?: (child: ChildProcess) => void
  /** Called with all of stderr whenever there is more of it. */
  readonly onProgress?: (stderr: string, child: ChildProcess) => void
}

/** `fasp ARGS` as a process of its own, with `folder` as the current one. */
export async function faspProcess(
  args: readonly string[],
  { folder, wrap = [], env: more, input, onStart, onProgress }: RunOptions,
): Promise<Run> {
  if (!existsSync(CLI)) throw new Error('dist/cli.js is missing: npm run build')
  const [command, ...rest] = [...wrap, process.execPath, CLI, ...args]
  const env = { ...process.env, FASP_LOG: '', ...more }
  const child = spawn(command, rest, {
    cwd: folder,
    env,
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  onStart?.(child)
  child.stdin.end(input)
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', text => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', text => {
    stderr += text
    onProgress?.(stderr, child)
  })
  const code = await new Promise<number | null>((resolve, reject) => child.on('error', reject).on('close', resolve))
  return { code, stdout, stderr }
}

let busy = false

/**
 * `fasp ARGS` with `folder` as the current one. Where nothing asks for a process, this one runs it, by the code of the binary: a process
 * takes half a second of the processor to start.
 */
export async function fasp(args: readonly string[], options: RunOptions): Promise<Run> {
  const { wrap, input, onStart, onProgress, ...here } = options
  const prompt = args.indexOf('-p')
  const readsStdin = args[0] === 'generate' && (prompt < 0 || args[prompt + 1] === '-')
  if (busy || wrap || input !== undefined || onStart || onProgress || readsStdin) return faspProcess(args, options)
  busy = true
  try {
    return await faspHere(args, here)
  } finally {
    busy = false
  }
}

async function faspHere(args: readonly string[], { folder, env }: Pick<RunOptions, 'folder' | 'env'>): Promise<Run> {
  const { runCommand }: typeof import('../src/cli/run.ts') = await import(/* @vite-ignore */ RUN)
  const written = { stdout: '', stderr: '' }
  const [cwd, before] = [process.cwd(), { ...process.env }]
  const spies = (['stdout', 'stderr'] as const).map(name => {
    const take = (text: string | Uint8Array) => Boolean((written[name] += String(text)))
    return vi.spyOn(process[name], 'write').mockImplementation(take as typeof process.stdout.write)
  })
  const terminals = [process.stdout, process.stderr].map(({ isTTY, columns }) => ({ isTTY, columns }))
  for (const stream of [process.stdout, process.stderr]) Object.assign(stream, { isTTY: false, columns: undefined })
  try {
    process.chdir(folder)
    Object.assign(process.env, { FASP_LOG: '' }, env)
    return { code: await runCommand(args, new AbortController().signal), ...written }
  } finally {
    process.chdir(cwd)
    for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name]
    Object.assign(process.env, before)
    for (const [i, stream] of [process.stdout, process.stderr].entries()) Object.assign(stream, terminals[i])
    for (const spy of spies) spy.mockRestore()
  }
}

/** Runs a command that succeeds, off a terminal: plain lines on both streams. */
export async function run(folder: string, ...args: string[]) {
  return expectDone(await fasp(args, { folder }))
}

/** `run` in a process of its own, whose memory is that of the command alone. */
export async function runProcess(folder: string, ...args: string[]) {
  return expectDone(await faspProcess(args, { folder }))
}

function expectDone({ code, stdout, stderr }: Run) {
  expect(code, stderr).toBe(0)
  expect(`${stdout}${stderr}`, 'codes that steer a terminal').not.toMatch(/\r|\p{Cc}\[/u)
  return { stdout, stderr, lines: stdout.trimEnd().split('\n') }
}

export type Files = Readonly<Record<string, string | Uint8Array | undefined>>

/** For one test file: `workplace(…)` makes a new folder with `text.txt` in it. All go at the end. */
export function workplaces(): (files?: Files) => Promise<string> {
  let root: string
  let count = 0
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'fasp-cli-'))
  })
  afterAll(() => rm(root, { recursive: true, force: true }))
  return async (files = {}) => {
    const folder = join(root, String(count++))
    await mkdir(folder)
    await put(folder, { 'text.txt': TEXT, ...files })
    return folder
  }
}

/** Writes files below `folder`; undefined removes one. */
export async function put(folder: string, files: Files): Promise<void> {
  for (const [name, contents] of Object.entries(files)) {
    const path = join(folder, name)
    await mkdir(join(path, '..'), { recursive: true })
    if (contents === undefined) await rm(path)
    else await writeFile(path, contents)
  }
}

/** Part of a name, as a process that has gone has left it. */
export const goneOwner = (): string => newOwner().replace(`-${process.pid}-`, `-${spawnSync('true').pid}-`)

/** tiny-llama as `model` in `folder`, with some files replaced, or removed where undefined. */
export async function putModel(folder: string, files: Files = {}): Promise<void> {
  await cp(TINY_LLAMA, join(folder, 'model'), { recursive: true })
  await put(join(folder, 'model'), files)
}

/** Every file and folder below `folder`, files with a hash of their contents. */
export async function snapshot(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const lines = entries.map(async entry => {
    const path = join(entry.parentPath, entry.name)
    return entry.isFile()
      ? `${path} ${createHash('sha256')
          .update(await readFile(path))
          .digest('hex')}`
      : path
  })
  return (await Promise.all(lines)).sort()
}

export interface Refusal extends Partial<RunOptions> {
  /** @default 1 */
  readonly code?: number
  /** Parts of the message. */
  readonly says: readonly string[]
}

/** Runs fasp and checks what all refusals share: the exit code, one line `fasp: …` at the end, nothing printed, nothing changed on disk. */
export async function refused(folder: string, args: readonly string[], refusal: Refusal): Promise<void> {
  const { code = 1, says, ...options } = refusal
  const before = await snapshot(folder)
  const run = await fasp(args, { folder, ...options })
  const lines = run.stderr.trimEnd().split('\n')
  const message = lines.at(-1)!
  for (const part of says) expect(message).toContain(part)
  expect(lines.filter(line => line.startsWith('fasp: '))).toEqual([message])
  expect(run.stderr).not.toMatch(/^\s+at |bug in fasp|\bError\b/m)
  expect(run.stdout).toBe('')
  expect(code === 130 ? INTERRUPTED : [code]).toContain(run.code)
  expect(await snapshot(folder)).toEqual(before)
}
