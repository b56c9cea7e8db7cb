// Reads an export back with our own reader, as the last step before it appears. Compares shapes, values within the
// rounding of their types, token ids, and by logits the facts of the model (positions, norms, heads).
import { OutputError } from '../../base/errors.ts'
import type { Progress } from '../../base/events.ts'
import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import { logits } from '../../evaluate/logits.ts'
import { type FloatDType, fromFloat32, isDType, toFloat32 } from '../../formats/dtype.ts'
import { blockElements, type GgufType } from '../../formats/gguf-layout.ts'
import { type DType, elements, type Floats } from '../../formats/tensors.ts'
import type { Context } from '../../forward/context.ts'
import { tensorShapes } from '../../model/architecture.ts'
import { describeModel, type Model } from '../../model/model.ts'
import { loadTokenizer, PROBE } from '../../text/tokenizer.ts'
import { partsOf, readPart } from '../conversion.ts'
import { gramReader } from '../gguf/grams.ts'
import type { ExportPlan } from '../target.ts'

/** Models of more parameters are not run: their tensors and sizes are compared, and their logits would take minutes. */
const MAX_PARAMETERS = 5e8
const PROMPT_TOKENS = 24
/** Part of the largest logit. Weights are equal; frequencies of positions and the norms' ε are rounded to float32. */
const LOGITS_TOLERANCE = 1e-4
/** Of float32 sums with 1, beside the sum. */
const LAST_BITS = 2 ** -23
/** Of what was rounded by its inputs: plain rounding to 4 bits loses a hundredth. */
const MAX_OUTPUT_ERROR = 1 / 16

/** @throws OutputError where something differs, or cannot be read back */
export async function* verifyExport(context: Context, { expected }: ExportPlan, written: Checkpoint): Progress<void> {
  if (!expected) return
  const fail = (problem: string): never => {
    throw new OutputError(`the export does not read back: ${problem}. This is a fault of fasp; please report it.`)
  }
  const { model, types, sums } = expected
  const back = readBack(written, fail)
  const gramOf = gramReader(model)
  const shapes = tensorShapes(model.architecture)
  if (JSON.stringify([...tensorShapes(back.architecture)]) !== JSON.stringify([...shapes])) fail('its shapes differ')
  yield { type: 'phase', phase: 'verify', total: shapes.size, unit: 'tensors' }
  for (const [i, name] of [...shapes.keys()].entries()) {
    context.signal?.throwIfAborted()
    const type = types.get(name)!
    const gram = isDType(type) ? undefined : await gramOf(name)
    let before = 0
    for (const rows of partsOf(model, name)) {
      const values = await readPart(model, name, rows)
      const read = await (rows ? written.tensors.rows(name, rows) : written.tensors.float32(name))
      if (!gram) {
        const at = sums?.has(name)
          ? values.findIndex((v, i) => !(Math.abs(v - read[i]) <= LAST_BITS * (1 + Math.abs(v))))
          : firstWrong(values, read, type)
        if (at >= 0) fail(`${name} is wrong at element ${before + at}`)
      } else if (!((await outputError(context.engine, values, read, gram)) < MAX_OUTPUT_ERROR))
        fail(`${name} gives other outputs`)
      before += values.length
    }
    yield { type: 'progress', done: i + 1 }
  }
  const ids = loadTokenizer(model.checkpoint).encode(PROBE)
  if (loadTokenizer(written).encode(PROBE).join() !== ids.join()) fail('its tokenizer gives other ids')
  const parameters = [...shapes.values()].reduce((sum, shape) => sum + elements(shape), 0)
  if (parameters <= MAX_PARAMETERS && (await differs(context, model, back, ids.subarray(0, PROMPT_TOKENS))))
    fail('its logits differ')
}

function readBack(written: Checkpoint, fail: (problem: string) => never): Model {
  try {
    return describeModel(written)
  } catch (error) {
    return fail((error as Error).message)
  }
}

/** Whether the written weights give other logits under the facts that were read back than under those of the source. */
async function differs(context: Context, model: Model, back: Model, ids: Int32Array): Promise<boolean> {
  const prompt = ids.map(id => id % model.architecture.vocabularySize)
  const ours = await logits(context, { ...back, architecture: model.architecture }, prompt)
  const theirs = await logits(context, back, prompt)
  const largest = ours.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  return !ours.every((value, i) => Math.abs(value - theirs[i]) <= LOGITS_TOLERANCE * largest)
}

/** `‖X (W − Ŵ)ᵀ‖² / ‖X Wᵀ‖²` by XᵀX: single values that were rounded by it may be far off. */
async function outputError({ linalg }: Context['engine'], values: Floats, read: Floats, gram: Floats): Promise<number> {
  const energy = async (w: Floats) => {
    const product = await linalg.multiply(w, gram, Math.sqrt(gram.length))
    return product.reduce((sum, v, i) => sum + v * w[i], 0)
  }
  const lost = await energy(values.map((v, i) => v - read[i]))
  return lost === 0 ? 0 : lost / (await energy(values))
}

/** Index of the first value that is not the expected one rounded to `type`, or −1. */
function firstWrong(values: Float32Array, read: Float32Array, type: GgufType | DType): number {
  if (values.length !== read.length) return Math.min(values.length, read.length)
  if (isDType(type)) {
    const rounded = toFloat32(fromFloat32(values, type as FloatDType), type)
    return rounded.findIndex((value, i) => value !== read[i])
  }
  const block = blockElements(type)
  for (let from = 0; from < values.length; from += block) {
    let low = 0
    let high = 0
    for (let i = from; i < from + block; i++) {
      if (values[i] < low) low = values[i]
      if (values[i] > high) high = values[i]
    }
    const allowed = STEPS[type] * (high - low) + SMALLEST
    for (let i = from; i < from + block; i++) if (!(Math.abs(values[i] - read[i]) <= allowed)) return i
  }
  return -1
}

/** The largest error as a part of a block's spread: half a step of 2^bits, and as much for the rounding of scales. */
const STEPS: Readonly<Record<Exclude<GgufType, DType>, number>> = {
  Q8_0: 1 / 128,
  Q6_K: 1 / 32,
  Q5_0: 1 / 16,
  Q5_1: 1 / 16,
  Q5_K: 1 / 16,
  Q4_0: 1 / 8,
  Q4_1: 1 / 8,
  Q4_K: 1 / 8,
}

/** Scales are float16, whose steps are 2^-24 where they end; a value is up to 128 of them off. */
const SMALLEST = 2 ** -17
