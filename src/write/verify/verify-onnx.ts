// Runs a model file with ONNX Runtime before it appears, and compares logits with our forward pass over the weights as
// stored: the first half of a prompt without a cache, the second half with the cache of the first.
import { NumericError, OutputError } from '../../base/errors.ts'
import type { Progress } from '../../base/events.ts'
import { type Engine, type OpenModel, type Values, values } from '../../engine/engine.ts'
import { logits } from '../../evaluate/logits.ts'
import type { Context } from '../../forward/context.ts'
import type { Model } from '../../model/model.ts'
import type { Sink } from '../../output/sink.ts'
import { loadTokenizer } from '../../text/tokenizer.ts'
import type { OnnxDtype } from '../onnx/dtypes.ts'
import { asStored, type OnnxPlan } from '../onnx/file.ts'
import { type Allowance, agreement } from './agreement.ts'

const PROMPT = 'It was a dark and stormy night; the rain fell in torrents, except at occasional intervals.'
const TOKENS = 16

/**
 * Limits for ONNX Runtime and transformers.js. Both sides have the same weights; operators round activations to float32
 * (largest divergence seen: 1e-11), float16 (1e-5), 8 bits a token (0.06, SmolLM2) or 8 bits a block (0.02). One wrong
 * matrix of tiny-llama or tiny-opt gives 0.02 to 0.6.
 */
export const ALLOWED: Readonly<Record<OnnxDtype, Allowance>> = {
  fp32: { divergence: 1e-6, preference: 1e-4 },
  fp16: { divergence: 1e-3, preference: 0.03 },
  q8: { divergence: 0.3, preference: 0.3 },
  q4: { divergence: 0.1, preference: 0.1 },
  q4f16: { divergence: 0.1, preference: 0.1 },
}

/**
 * @returns mean KL(ours ‖ theirs) of next-token probabilities over the positions, in nats
 * @throws NumericError where activations exceed float16
 * @throws OutputError where the difference exceeds the rounding of activations, or the file does not run
 */
export async function* verifyOnnx(
  context: Context,
  model: Model,
  dtype: OnnxDtype,
  plan: OnnxPlan,
  sink: Sink,
): Progress<number> {
  yield { type: 'phase', phase: 'verify', total: 1, unit: 'tensors' }
  const { vocabularySize, maxPositions } = model.architecture
  const ids = loadTokenizer(model.checkpoint)
    .encode(PROMPT)
    .subarray(0, Math.min(TOKENS, maxPositions))
    .map(id => id % vocabularySize)
  const ours = await logits(context, asStored(model, plan), ids)
  const fail = (problem: string, cause?: unknown) =>
    new OutputError(`${plan.file} was written, but ${problem}. This is a fault of fasp; please report it.`, { cause })
  const theirs = await run(context.engine, plan, sink, ids).catch(cause => {
    throw fail(`ONNX Runtime does not run it (${(cause as Error).message})`, cause)
  })
  const found = agreement(ours, theirs, [], vocabularySize).divergence
  if (Number.isNaN(found) && plan.float === 'float16')
    throw new NumericError(
      `${dtype}: activations of this model do not fit float16. Choose another dtype: fp32, q8 or q4.`,
    )
  const allowed = ALLOWED[dtype].divergence
  if (!(found <= allowed))
    throw fail(`its probabilities are ${found.toPrecision(2)} nats a token from ours, allowed are ${allowed}`)
  yield { type: 'progress', done: 1 }
  return found
}

async function run(engine: Engine, { file, layout }: OnnxPlan, sink: Sink, ids: Int32Array): Promise<Float32Array> {
  const external = [...layout.files.keys()].filter(name => name !== file)
  const written = sink.written(file)
  const data = external.map(name => [name.slice(name.lastIndexOf('/') + 1), sink.written(name)] as const)
  const inMemory = data.flatMap(([name, bytes]) => (typeof bytes === 'string' ? [] : [[name, bytes] as const]))
  const open = await engine.open(written, new Map(inMemory))
  try {
    const half = ids.length >> 1
    const first = await open.run({ ...feeds(ids.subarray(0, half), 0), ...emptyCache(open) })
    const cache = open.inputs
      .filter(({ name }) => name.startsWith('past_key_values'))
      .map(({ name }) => [name, first[name.replace('past_key_values', 'present')]])
    const second = await open.run({ ...feeds(ids.subarray(half), half), ...Object.fromEntries(cache) })
    const [before, after] = [first, second].map(({ logits }) => logits.data as Float32Array)
    const all = new Float32Array(before.length + after.length)
    all.set(before)
    all.set(after, before.length)
    return all
  } finally {
    await open.close()
  }
}

function feeds(ids: Int32Array, past: number): Record<string, Values> {
  const row = (data: ArrayLike<number>) => values(BigInt64Array.from(Array.from(data, BigInt)), [1, data.length])
  return {
    input_ids: row(ids),
    attention_mask: row(new Array(past + ids.length).fill(1)),
    position_ids: row(ids.map((_, i) => past + i)),
    num_logits_to_keep: values(BigInt64Array.of(0n), []),
  }
}

/** What transformers.js feeds at the start: the declared shapes, with no positions. */
function emptyCache({ inputs }: OpenModel): Record<string, Values> {
  const empty = inputs.flatMap(input => {
    if (!input.isTensor || !input.name.startsWith('past_key_values')) return []
    const shape = input.shape.map(n => (n === 'batch_size' ? 1 : typeof n === 'number' ? n : 0))
    const data = input.type === 'float16' ? new Uint16Array() : new Float32Array()
    return [[input.name, values(data, shape)]]
  })
  return Object.fromEntries(empty)
}
