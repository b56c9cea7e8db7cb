// The worker that computes: the library's verbs, on the model that is open and the one that was made of it.
import { downloadZip } from 'client-zip'
import { type ByteSource, memorySource } from '../src/base/bytes.ts'
import { MEASURED_WINDOWS, passOn, pushedFacts, written } from '../src/page/facts.ts'
import type { Answer, Ask, Compute, Settings, Side } from '../src/page/protocol.ts'
import { reportOf } from '../src/page/report.ts'
import { watchRun } from '../src/page/run-view.ts'
import {
  cutVocabulary,
  type Engine,
  evaluate,
  exportGguf,
  exportOnnx,
  generate,
  inspect,
  MemorySink,
  type Model,
  type OnnxDtype,
  openModel,
  type PruneResult,
  planPrune,
  prune,
  push as pushFiles,
  shortRates,
  UsageError,
  VERSION,
  withPath,
} from '../src/web.ts'
import { Disk, DiskSink, diskBytes, heldBytes } from './disk.ts'
import { type OpenedEngine, openEngine } from './engine.ts'
import { open, opened, optionsOf, PAGE } from './opened.ts'
import { stoppedRuns } from './runs.ts'
import { beginRun, reopenRun, type SavedRun } from './saved.ts'
import { type JobContext, serve } from './serve.ts'
import { withVocabulary } from './vocabulary.ts'

/** Address of the Hub, set where the page is built. */
declare const FASP_HUB: string

interface Pruned {
  /** The model that was open. */
  readonly of: Model
  /** The same with the vocabulary that was asked for: what was pruned. */
  readonly dense: Model
  readonly model: Model
  readonly files: readonly File[]
  readonly name: string
  readonly engine: Engine
  readonly output: MemorySink | DiskSink
  readonly result: PruneResult
  /** Notices of the run. */
  readonly told: readonly string[]
}

/** Where results and activations lie; in memory where the browser gives no disk, or fails to. */
const disks = Disk.open().catch(() => undefined)

/** In memory the browser holds them from here on, on disk where they are large. */
async function filesOf(sink: MemorySink | DiskSink): Promise<File[]> {
  if (sink instanceof DiskSink) return sink.files()
  const files: File[] = []
  for (const [path, bytes] of sink.files) {
    files.push(new File([bytes], path))
    sink.files.delete(path)
  }
  return files
}

/** The weights of a result as far as they are written, in their one file: no page has more than fits one. */
const pendingWeights = (output: MemorySink | DiskSink): ByteSource | undefined => {
  const name = 'model.safetensors'
  return output instanceof DiskSink ? output.source(name) : memorySource(output.written(name))
}

const removeFrom = async (sink: MemorySink | DiskSink) => {
  if (sink instanceof DiskSink) await sink.remove()
}

let last: Pruned | undefined
let engine: { readonly compute: Compute; readonly opened: OpenedEngine } | undefined

async function engineOf(compute: Compute, tell: JobContext['tell']): Promise<Engine> {
  if (engine?.compute !== compute) {
    await engine?.opened.engine.close()
    engine = undefined
    const ort = new URL('ort/', PAGE)
    const usable = await openEngine(compute, ort).catch(error => {
      if (compute === 'wasm') throw error
      tell({ type: 'notice', message: `WebGPU fails here (${messageOf(error)}); WebAssembly computes instead.` })
      return openEngine('wasm', ort)
    })
    engine = { compute, opened: usable }
  }
  tell({ type: 'engine', name: engine.opened.name })
  return engine.opened.engine
}

/** The first line, which says what. */
const messageOf = (error: unknown): string => (error as Error).message.split('\n', 1)[0]

/** @throws UsageError where nothing was made of the model yet */
function both(): Pruned {
  if (last?.of !== opened()) throw new UsageError('nothing is pruned yet. Prune a model first.')
  return last
}

/** @param found what it goes on with. @default it begins */
async function pruneModel(
  settings: Ask<'prune'>,
  { tell, signal }: JobContext,
  found?: SavedRun,
): Promise<Answer<'prune'>> {
  let run = found
  try {
    const of = opened()
    const dense = await denseOf(settings)
    await last?.model.checkpoint.close()
    if (last) await removeFrom(last.output)
    last = undefined
    const engine = await engineOf(settings.compute ?? 'auto', tell)
    const plan = await planPrune(dense, optionsOf(settings))
    const disk = heldBytes(plan) < (await diskBytes()) ? await disks : undefined
    run ??= disk && (await beginRun(settings, plan).catch(() => undefined))
    const output = run?.sink ?? (await disk?.sink()) ?? new MemorySink()
    const pending = async () => pendingWeights(output)
    const writing = { pending, on: () => ({ engine, signal }), mostBytes: MOST_TO_WRITE / 2 }
    const watched = watchRun(dense, settings.texts === undefined, writing, tell)
    const result = await prune(dense, {
      ...optionsOf(settings),
      output,
      engine,
      signal,
      onEvent: watched.onEvent,
      openScratch: disk && (() => disk.scratch()),
      saved: run?.saved,
    })
    const name = `${baseName(dense.checkpoint.name)}-pruned`
    const files = await filesOf(output)
    const model = await openModel(files.map(file => withPath(file, `${name}/${file.name}`)))
    const facts = await watched.facts(result, model, { engine, openRows, signal })
    await run?.end()
    last = { of, dense, model, files, name, engine, output, result, told: watched.notices }
    return facts
  } catch (error) {
    await run?.stop(signal.aborted)
    throw error
  }
}

const denseOf = async (settings: Settings): Promise<Model> =>
  (await withVocabulary(settings, async () => ({ cutVocabulary }))).model

/** A run that was stopped, until it is followed. */
let found: SavedRun | undefined

/** Takes a run that was stopped, on the model that is open. */
async function resume(id: Ask<'resume'>): Promise<Answer<'resume'>> {
  const leave = found
  found = undefined
  await leave?.stop(false)
  found = await reopenRun(id, async settings => planPrune(await denseOf(settings), optionsOf(settings)))
  const { settings } = found
  const order = { model: opened().checkpoint.name, output: '', settings }
  return { job: { inspection: await inspect(opened()), order }, ...(await stoppedRuns()) }
}

async function follow(_: null, context: JobContext): Promise<Answer<'follow'>> {
  const run = found
  found = undefined
  if (!run) throw new UsageError('no run is at work.')
  return pruneModel(run.settings, context, run)
}

const baseName = (path: string): string => path.replace(/^.*\//, '').replace(/\.gguf$/i, '')

async function measure({ text, seqLen }: Ask<'measure'>, { tell, signal }: JobContext): Promise<Answer<'measure'>> {
  const { dense, model, engine } = both()
  const found = await evaluate(model, {
    ...{ text: [{ name: 'your text', text: async () => text }], seqLen, windows: MEASURED_WINDOWS, engine, signal },
    dense: { model: dense, openRows },
    onEvent: passOn(tell),
  })
  return { pruned: found.perplexity[0], dense: found.dense![0], divergence: found.divergence![0] }
}

const openRows = async () => (await (await disks)?.scratch()) ?? memoryRows()

/** A file in memory, for the hidden states of a text. */
function memoryRows() {
  let held = new Uint8Array()
  return {
    async read(target: Uint8Array, offset: number) {
      target.set(held.subarray(offset, offset + target.byteLength))
    },
    async write(bytes: Uint8Array, offset: number) {
      const end = offset + bytes.byteLength
      if (end > held.byteLength) {
        const larger = new Uint8Array(Math.max(end, 2 * held.byteLength))
        larger.set(held)
        held = larger
      }
      held.set(bytes, offset)
    },
    async close() {
      held = new Uint8Array()
    },
  }
}

async function write({ prompt, tokens }: Ask<'write'>, { tell, signal }: JobContext): Promise<Answer<'write'>> {
  const { dense, model, engine } = both()
  const by = (side: Side, of: Model) =>
    written(side, tell, onEvent => generate(of, prompt, { maxTokens: tokens, engine, signal, onEvent }))
  return { dense: await by('dense', dense), pruned: await by('pruned', model) }
}

/** A page has 4 GB: with more than half of it a model that writes may not fit beside the rest. */
const MOST_TO_WRITE = 2 ** 31

function report(_: null, { tell, signal }: JobContext): Promise<Answer<'report'>> {
  const { dense, model, result, told, engine } = both()
  const { hardwareConcurrency: cores, platform, userAgent: browser } = navigator
  const { deviceMemory } = navigator as { readonly deviceMemory?: number } // in GiB, of Chromium alone
  const memoryBytes = deviceMemory && deviceMemory * 2 ** 30
  const machine = { ...engine.facts, cores, platform, browser, memoryBytes }
  return reportOf(
    { dense, pruned: model, result, told },
    { engine, signal },
    { machine, mostBytes: MOST_TO_WRITE, tell },
  )
}

async function take(ask: Ask<'take'>, context: JobContext): Promise<Answer<'take'>> {
  const { into } = ask
  const { name, files, sink } = await taken(ask, context)
  const one = name.endsWith('.zip') ? undefined : files[0]
  const folder = name.replace(/\.zip$/, '')
  const zip = () => downloadZip(files.map(file => ({ name: `${folder}/${file.name}`, input: file })))
  if (!into) return answered(name, one ?? (await zip().blob()))
  const target = await into.createWritable()
  await (one?.stream() ?? zip().body!).pipeTo(target)
  if (sink) await removeFrom(sink)
  return { name: into.name, bytes: (await into.getFile()).size }
}

const answered = (name: string, blob: Blob): Answer<'take'> => ({
  name,
  bytes: blob.size,
  file: new File([blob], name),
})

interface Taken {
  readonly name: string
  readonly files: readonly File[]
  /** What holds them, where they were made for this. */
  readonly sink?: MemorySink | DiskSink
}

/** The files of a format, of which several are zipped. */
async function taken({ to, dtype }: Ask<'take'>, { tell, signal }: JobContext): Promise<Taken> {
  const { dense, model, engine, files, name } = both()
  if (to === 'safetensors') return { name: `${name}.zip`, files }
  const sink = (await (await disks)?.sink()) ?? new MemorySink()
  const options = { engine, signal, onEvent: passOn(tell) }
  if (to === 'gguf') await exportGguf(model, sink, { ...options, dtype, source: dense })
  else await exportOnnx(model, sink, { ...options, dtypes: [(dtype ?? 'q8') as OnnxDtype] })
  return { name: `${name}${to === 'gguf' ? '.gguf' : '-onnx.zip'}`, files: await filesOf(sink), sink }
}

/** The folder, and what is wanted beside it, in folders of their own, as `fasp prune --to` has them. */
async function push(ask: Ask<'push'>, context: JobContext): Promise<Answer<'push'>> {
  const { files, name } = both()
  const sent = new Map(files.map(file => [file.name, file]))
  const made: Taken[] = []
  try {
    for (const { to, dtype } of ask.beside ?? []) {
      made.push(await taken({ to, dtype }, context))
      for (const file of made.at(-1)!.files) sent.set(`${to}/${file.name}`, file)
    }
    const { id, private: isPrivate, overwrite, token } = ask
    const message = `Upload ${name} with fasp ${VERSION}`
    const { signal } = context
    const options = { private: isPrivate, overwrite, token, message, signal, onEvent: passOn(context.tell) }
    return pushedFacts(await pushFiles(sent, id, { ...options, endpoint: FASP_HUB }))
  } finally {
    for (const { sink } of made) if (sink) await removeFrom(sink)
  }
}

/** What it is was told by the worker that plans. */
const openAgain = async (ask: Ask<'open'>): Promise<Answer<'open'>> => inspect(await open(ask))

const rate = async (compute: Compute, { tell }: JobContext): Promise<Answer<'rate'>> =>
  shortRates(await engineOf(compute, tell))

serve({ open: openAgain, rate, prune: pruneModel, resume, follow, measure, write, report, take, push })
