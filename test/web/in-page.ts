// What the checks of the library have a page do: prune and measure with it as a page has it, in WebAssembly or on WebGPU.

import type { Compute } from '../../src/page/protocol.ts'
import {
  type Engine,
  generate,
  logits,
  MemorySink,
  type Model,
  openModel,
  type ProgressEvent,
  type PruneOptions,
  prune,
  type Windows,
} from '../../src/web.ts'
import { openEngine } from '../../web/engine.ts'
import { perplexity } from '../evaluation.ts'
import { finish } from '../finish.ts'

type Rows = readonly (readonly number[])[]

/** Where, and of which model. */
export interface Place {
  readonly compute: Compute
  /** Addresses of the files of the model. */
  readonly files: readonly string[]
}

/** Ids: logits of the prompt, perplexity on the windows. */
export interface Measure {
  readonly prompt: readonly number[]
  readonly windows: Rows
}

export interface Asked {
  readonly options: PruneOptions
  /** Ids to calibrate on. */
  readonly windows: Rows
  readonly heldOut?: Rows
  /** What is measured of what came out. */
  readonly measure?: Measure
}

const fileAt = async (address: string) =>
  new File([await (await fetch(address)).arrayBuffer()], address.replace(/^.*\//, ''))

function asWindows(rows: Rows, heldOut?: Rows): Windows {
  const [windows, others] = [rows, heldOut ?? []].map(of => of.map(row => Int32Array.from(row)))
  const counts = { available: windows.length + others.length, used: windows.length, heldOut: others.length }
  return { seqLen: rows[0].length, windows, heldOut: others, texts: [{ name: 'golden', tokens: 0, ...counts }] }
}

async function within<T>({ compute, files }: Place, use: (model: Model, engine: Engine) => Promise<T>) {
  const { engine, name } = await openEngine(compute, new URL('/ort/', location.href))
  await using _ = engine
  await using model = await openModel(await Promise.all(files.map(fileAt)))
  return { engine: name, ...(await use(model, engine)) }
}

async function measuredOn(model: Model, engine: Engine, { prompt, windows }: Measure) {
  const rows = [...(await logits(model, engine, prompt))]
  return { rows, perplexity: (await finish(perplexity(model, engine, asWindows(windows), 'evaluate'))).perplexity }
}

/** The model as it is. */
export const measured = (asked: Place & Measure) => within(asked, (model, engine) => measuredOn(model, engine, asked))

export const pruned = ({ options, windows, heldOut, measure, ...place }: Place & Asked) =>
  within(place, async (model, engine) => {
    const selected: { half: string; scores: number[]; kept: number[] }[] = []
    const onEvent = (event: ProgressEvent) => {
      if (event.type === 'selected')
        selected.push({ half: event.half, scores: [...event.scores], kept: [...event.kept] })
    }
    const output = new MemorySink()
    const calibration = asWindows(windows, heldOut)
    const { layers, moved } = await prune(model, { ...options, calibration, engine, output, onEvent })
    const outcome = async (of: Measure) => {
      await using smaller = await openModel([...output.files].map(([path, bytes]) => new File([bytes], path)))
      return await measuredOn(smaller, engine, of)
    }
    const plainLayers: typeof layers = JSON.parse(JSON.stringify(layers))
    return { selected, moved, layers: plainLayers, measured: measure && (await outcome(measure)) }
  })

/** Goes on with a text, token by token, through a cache. */
export const continued = ({ text, ...place }: Place & { readonly text: string }) =>
  within(place, async (model, engine) => {
    const { fromDevice: before = 0 } = engine.moved ?? {} // where the engine was tried
    const { ids } = await generate(model, text, { engine, maxTokens: 12 })
    return { ids, fromDevice: engine.moved && engine.moved.fromDevice - before }
  })
