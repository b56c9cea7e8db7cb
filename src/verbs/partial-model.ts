// The model so far, while it is pruned: layers that are done as they were written, the others as they were.
import type { ByteSource } from '../base/bytes.ts'
import { finish, type ProgressEvent, type PrunedLayer } from '../base/events.ts'
import { continuationBytes, continuations, SAMPLE_PROMPTS } from '../evaluate/continuations.ts'
import { openSafetensors } from '../formats/safetensors.ts'
import type { TensorSource } from '../formats/tensors.ts'
import { type Context, memoryContext } from '../forward/context.ts'
import { layersOf, tensorShapes } from '../model/architecture.ts'
import { type HalfBlock, withBiases, withNeurons } from '../model/half-block.ts'
import type { Model } from '../model/model.ts'
import { withKept } from '../write/model.ts'

/** What a model wrote when its first layers were pruned. */
export interface SoFar {
  readonly layers: number
  readonly prompt: string
  readonly text: string
}

/** What the model so far is read from, and writes with. */
export interface Writing {
  /** The weights of the output in their one file, as far as they are written; closed by who asks. */
  readonly pending: () => Promise<ByteSource | undefined>
  readonly on: () => Pick<Context, 'engine' | 'signal'>
  /** A model that takes more memory to write text writes none. */
  readonly mostBytes: number
}

/** Writing takes no more than one part in so many of the time. */
const SHARE = 20
const TOKENS = 24

/**
 * @param layers what was kept of each that is done
 * @param written tensors of the output, those of later layers not there yet
 * @returns undefined where whole layers or experts go: names are others then
 */
export function modelSoFar(dense: Model, layers: readonly PrunedLayer[], written: TensorSource): Model | undefined {
  const { architecture: a, checkpoint } = dense
  const isDone = ({ layer }: HalfBlock) => layer < layers.length
  const halves = a.halves.map(half => (isDone(half) ? asWritten(half, layers[half.layer], written) : half))
  const tables = tensorShapes({ ...a, halves: [] })
  const done = tensorShapes({ ...a, halves: halves.filter(isDone) })
  const of = (name: string) => (done.has(name) && !tables.has(name) ? written : checkpoint.tensors)
  const architecture = { ...a, compact: true, halves }
  const shapes = [...tensorShapes(architecture)]
  const stays = a.halves.every(({ output }) => written.tensors.has(`${output.name}.weight`))
  if (!stays || shapes.some(([name, shape]) => `${of(name).tensors.get(name)?.shape}` !== `${shape}`)) return undefined
  const tensors: TensorSource = {
    tensors: new Map(shapes.map(([name]) => [name, of(name).tensors.get(name)!])),
    bytes: name => of(name).bytes(name),
    float32: name => of(name).float32(name),
    rows: (name, ids) => of(name).rows(name, ids),
    close: async () => {},
  }
  return { architecture, checkpoint: { ...checkpoint, tensors } }
}

/** A half-block as it is stored: where its output layer is narrower than it was, the kept alone. */
function asWritten(half: HalfBlock, layer: PrunedLayer, { tensors }: TensorSource): HalfBlock {
  const { output } = half
  const width = tensors.get(`${output.name}.weight`)?.shape[1] ?? output.in
  const own = tensors.has(`${output.name}.bias`) && !output.bias ? withBiases(half) : half
  if (width === output.in) return own
  if (own.kind === 'ffn') return withNeurons(own, width)
  const kept = layer.attention?.kept ?? []
  return withKept(own, Int32Array.from(kept.length > 0 ? kept : [0]))
}

/**
 * Has the model so far write a line now and then, while it is pruned, for which the run waits.
 * @param dense what is pruned
 * @returns what is to hear the events of the run
 * @example
 * const writing = { pending: () => pendingWeights(output), on: () => ({ engine }), mostBytes: 4e9 }
 * const onEvent = writeSoFar(model, writing, ({ layers, text }) => console.log(layers, text))
 * await prune(model, { sparsity: 0.2, output, onEvent })
 */
export function writeSoFar(dense: Model, { pending, on, mostBytes }: Writing, tell: (soFar: SoFar) => void) {
  const total = layersOf(dense.architecture)
  const writes = continuationBytes(dense) <= mostBytes
  const layers: PrunedLayer[] = []
  let next = 0 // milliseconds
  return async (event: ProgressEvent): Promise<void> => {
    if (!writes || event.type !== 'progress' || !event.layer) return
    layers[event.done - 1] = event.layer
    // What was written last may not be on the disk yet; after the last layer the whole result is about to be there.
    const done = event.done - 1
    if (done === 0 || event.done === total || performance.now() < next) return
    const began = performance.now()
    const source = await pending()
    if (!source) return
    try {
      const model = modelSoFar(dense, layers.slice(0, done), await openSafetensors(source))
      if (!model) return
      const { engine, signal } = on()
      const writing = continuations(memoryContext(engine, signal), model, SAMPLE_PROMPTS.slice(0, 1), TOKENS)
      const [{ prompt, text }] = await finish(writing)
      tell({ layers: done, prompt, text })
    } finally {
      await source.close?.()
    }
    next = performance.now() + (SHARE - 1) * (performance.now() - began)
  }
}
