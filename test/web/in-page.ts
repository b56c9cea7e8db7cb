// What the check of the goldens has a page do: prune with the library as a page has it, in WebAssembly or on WebGPU.

import type { Compute } from '../../src/ui/protocol.ts'
import {
  generate,
  MemorySink,
  openModel,
  type ProgressEvent,
  type PruneOptions,
  prune,
  type Windows,
} from '../../src/web.ts'
import { openEngine } from '../../web/engine.ts'

export interface Asked {
  readonly compute: Compute
  /** Addresses of the files of the model. */
  readonly files: readonly string[]
  readonly options: PruneOptions
  /** Ids. */
  readonly windows: readonly (readonly number[])[]
}

const fileAt = async (address: string) =>
  new File([await (await fetch(address)).arrayBuffer()], address.replace(/^.*\//, ''))

export async function pruned({ compute, files, options, windows: rows }: Asked) {
  const { engine, name } = await openEngine(compute, new URL('/ort/', location.href))
  await using _ = engine
  await using model = await openModel(await Promise.all(files.map(fileAt)))
  const calibration: Windows = {
    seqLen: rows[0].length,
    windows: rows.map(row => Int32Array.from(row)),
    texts: [{ name: 'golden', tokens: 0, available: rows.length, used: rows.length }],
  }
  const scores: number[][] = []
  const onEvent = (event: ProgressEvent) => {
    if (event.type === 'selected') scores.push([...event.scores])
  }
  const { layers, moved } = await prune(model, { ...options, calibration, engine, output: new MemorySink(), onEvent })
  return { engine: name, scores, moved, layers: JSON.parse(JSON.stringify(layers)) as typeof layers }
}

/** Goes on with a text, token by token, through a cache. */
export async function continued({
  compute,
  files,
  text,
}: Pick<Asked, 'compute' | 'files'> & { readonly text: string }) {
  const { engine } = await openEngine(compute, new URL('/ort/', location.href))
  await using _ = engine
  await using model = await openModel(await Promise.all(files.map(fileAt)))
  const { fromDevice: before = 0 } = engine.moved ?? {} // where the engine was tried
  const { ids } = await generate(model, text, { engine, maxTokens: 12 })
  return { ids, fromDevice: engine.moved && engine.moved.fromDevice - before }
}
