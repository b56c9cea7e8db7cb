// `verify`: whether an output is what was written, and holds together. A check says what it found, or why it cannot.
import { readdir } from 'node:fs/promises'
import { join, normalize } from 'node:path'
import { firstOf } from '../base/display.ts'
import { FaspError, FormatError } from '../base/errors.ts'
import type { Progress } from '../base/events.ts'
import { isJsonObject, type JsonObject, quote } from '../base/json.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { type FewLogits, fewLogits, TOKENS } from '../evaluate/few-logits.ts'
import { isDType } from '../formats/dtype.ts'
import { sha256, statAt } from '../formats/file.node.ts'
import { type Context, memoryContext } from '../forward/context.ts'
import { openCheckpoint } from '../hub/open.node.ts'
import { type Architecture, tensorShapes } from '../model/architecture.ts'
import { describeModel, type Model, readStored } from '../model/model.ts'
import { checkRecipe } from '../model/recipe.ts'
import { OWN_MARK, putBack, readMark } from '../output/place.node.ts'
import { partsOf, readPart } from '../write/conversion.ts'
import { choose, type EngineChoice } from './platform.node.ts'

export interface Check {
  /**
   * SHA-256 of files; tensors against the config; kept indices against widths; finite values; recorded logits.
   */
  readonly name: 'files' | 'shapes' | 'kept' | 'weights' | 'logits'
  readonly found: 'right' | 'wrong' | 'unchecked'
  /** What was checked; or what is wrong, and where; or why it could not be checked. */
  readonly text: string
}

/** What `verify` found. */
export interface Verification {
  /** Whether nothing is wrong. */
  readonly right: boolean
  readonly checks: readonly Check[]
}

/** Of the largest logit. Other threads and BLAS libraries change 3e-7 of it. */
const TOLERANCE = 1e-3

/** Thrown by a check that cannot be made. */
class Unchecked extends Error {}

export async function* verifyEvents(path: string, options: EngineChoice = {}): Progress<Verification> {
  const { signal } = options
  const record = await recordOf(path)
  await using chosen = choose(options)
  const context = memoryContext(chosen.engine, signal)
  const open: { checkpoint?: Checkpoint; model?: Model } = {}
  const model = () => {
    if (open.model) return open.model
    throw new Unchecked('there is no model that could be opened')
  }
  const work: Readonly<Record<Check['name'], Work>> = {
    files: () => checkFiles(path, record, signal),
    async shapes() {
      checkHoldsModel(record)
      open.checkpoint = await openCheckpoint(path)
      open.model = describeModel({ ...open.checkpoint, recipe: undefined })
      return `${tensorsOf(open.model).length} tensors have the shapes that the config calls for`
    },
    async kept() {
      const { architecture, checkpoint } = model()
      if (!record.layers) throw new Unchecked('none are recorded')
      checkRecipe(architecture, { ...checkpoint, recipe: record })
      return 'the indices of what is kept fit the widths of the weights'
    },
    weights: () => checkWeights(model(), signal),
    logits: () => checkLogits(context, model(), record),
  }
  try {
    const checks: Check[] = []
    for (const name of Object.keys(work) as Check['name'][]) checks.push({ name, ...(yield* outcome(work[name])) })
    return { right: checks.every(({ found }) => found !== 'wrong'), checks }
  } finally {
    await open.checkpoint?.close()
  }
}

/** A check: says what it checked, or throws. */
type Work = () => Progress<string> | Promise<string>

async function* outcome(work: Work): Progress<Omit<Check, 'name'>> {
  try {
    const checking = work()
    return { found: 'right', text: 'then' in checking ? await checking : yield* checking }
  } catch (error) {
    if (!(error instanceof FaspError || error instanceof Unchecked)) throw error
    return { found: error instanceof Unchecked ? 'unchecked' : 'wrong', text: error.message }
  }
}

/** What a folder says of itself; of a file, nothing. @throws FormatError where fasp did not write it */
async function recordOf(path: string): Promise<JsonObject> {
  await putBack(path)
  const there = await statAt(path)
  if (!there)
    throw new FormatError(path, 'there is no such file or folder. Give what fasp wrote: a folder, or a .gguf file.')
  if (there.isDirectory() && !(await readdir(path)).includes(OWN_MARK))
    throw new FormatError(
      path,
      `has no ${OWN_MARK}, which says what was written. ` +
        'Give the folder that fasp wrote; exports below it are checked with it.',
    )
  return there.isDirectory() ? readMark(join(path, OWN_MARK)) : {}
}

/** @throws Unchecked for a folder of exports that are not read as a folder */
function checkHoldsModel({ exports }: JsonObject): void {
  if (!Array.isArray(exports)) return
  const own = exports.filter(one => isJsonObject(one) && one.folder === '')
  if (own.some(({ to }) => to === 'huggingface' || to === 'padded')) return
  throw new Unchecked('it holds exports alone, whose files are checked; a .gguf file can be checked by itself')
}

async function* checkFiles(path: string, { files }: JsonObject, signal?: AbortSignal): Progress<string> {
  if (!isJsonObject(files)) throw new Unchecked('no checksums are recorded')
  const all = Object.entries(files)
  yield { type: 'phase', phase: 'verify', total: all.length, unit: 'files' }
  const wrong: string[] = []
  for (const [i, [name, hash]] of all.entries()) {
    signal?.throwIfAborted()
    const problem = await fileProblem(path, name, hash)
    if (problem) wrong.push(problem)
    yield { type: 'progress', done: i + 1 }
  }
  if (wrong.length > 0) throw new FormatError(path, firstOf(wrong))
  return `${all.length} files are as they were written`
}

async function fileProblem(path: string, name: string, hash: unknown): Promise<string | undefined> {
  if (normalize(name).startsWith('..')) return `${quote(name)} would be outside`
  try {
    return (await sha256(join(path, name))) === hash ? undefined : `${name} was changed`
  } catch (error) {
    if (error instanceof FormatError) return `${name} is missing, or cannot be read`
    throw error
  }
}

const tensorsOf = ({ architecture }: Model) => [...tensorShapes(architecture).keys()]

async function* checkWeights(model: Model, signal?: AbortSignal): Progress<string> {
  const names = tensorsOf(model)
  yield { type: 'phase', phase: 'verify', total: names.length, unit: 'tensors' }
  for (const [i, name] of names.entries()) {
    signal?.throwIfAborted()
    const { dtype } = model.checkpoint.tensors.tensors.get(name)!
    if (isDType(dtype)) await readStored(model, name)
    else for (const rows of partsOf(model, name)) await readPart(model, name, rows)
    yield { type: 'progress', done: i + 1 }
  }
  return `${names.length} tensors hold finite numbers`
}

async function* checkLogits(context: Context, model: Model, { logits: recorded }: JsonObject): Progress<string> {
  const { name } = model.checkpoint
  if (recorded === undefined) throw new Unchecked('none are recorded')
  if (!isFewLogits(recorded, model.architecture))
    throw new FormatError(
      `${name}/${OWN_MARK}`,
      `"logits" must have the lists "ids", of at most ${TOKENS} tokens, and "logits", as long`,
    )
  const found = await fewLogits(context, model, recorded.ids)
  const most = Math.max(...recorded.logits.map(Math.abs))
  const at = found.logits.findIndex((logit, i) => !(Math.abs(logit - recorded.logits[i]) <= TOLERANCE * most))
  if (at >= 0)
    throw new FormatError(
      name,
      `the logit of token ${found.ids[at]} is ${found.logits[at]}, and was ${recorded.logits[at]} ` +
        'in the run that wrote it',
    )
  return `${found.ids.length} logits are those of the run that wrote it`
}

const isFewLogits = (value: unknown, { vocabularySize, maxPositions }: Architecture): value is FewLogits => {
  const { ids, logits } = isJsonObject(value) ? value : {}
  const areNumbers = (list: unknown): list is number[] => Array.isArray(list) && list.every(Number.isFinite)
  return (
    areNumbers(ids) &&
    areNumbers(logits) &&
    ids.length > 0 &&
    ids.length <= Math.min(TOKENS, maxPositions) &&
    ids.length === logits.length &&
    ids.every(id => Number.isInteger(id) && id >= 0 && id < vocabularySize)
  )
}
