// Heals a pruned model: its weights go down the gradient of the mean KL(dense ‖ pruned) over texts, without labels.
// Each step takes some windows through the model and back (gradients.ts) and moves all weights by Adam (adam.ts). The
// distance on held-out windows is measured now and then, with the weights as written; the nearest weights are kept.
// Of several processes each has its own windows: gradients and distances are added up, and all take the same step.
// Source: Hinton et al. 2015 (arXiv 1503.02531) for the loss; Minitron (arXiv 2407.14679) for it alone after pruning.
import { NumericError, UsageError } from '../base/errors.ts'
import type { Progress, ProgressEvent } from '../base/events.ts'
import { randomNumbers } from '../base/random.ts'
import type { Precision } from '../engine/engine.ts'
import type { FloatDType } from '../formats/dtype.ts'
import type { Context } from '../forward/context.ts'
import { Head } from '../forward/head.ts'
import { readHalves } from '../forward/weights.ts'
import type { Model } from '../model/model.ts'
import { HEAL_DEFAULTS } from '../options/defaults.ts'
import type { Trains } from '../options/options.ts'
import type { Activations } from '../output/activations.ts'
import { type Saved, UNSAVED } from '../output/steps.ts'
import { ALONE, type Group } from '../ranks/group.ts'
import type { Point } from '../result/result.ts'
import { adamAt, adamStep, clipping, rateOf } from './adam.ts'
import { gradients } from './gradients.ts'
import { throughHead } from './loss.ts'
import { asStored, TrainedWeights, trainedHalves } from './parameters.ts'
import { Distance, openTeacher } from './teacher.ts'

export interface HealSteps {
  readonly steps: number
  /** Windows of a step. */
  readonly batch: number
  /** Largest rate of learning. @default one that gets smaller where it is too large */
  readonly lr?: number
  readonly train: Trains
  /** Of the low-rank updates, where `train` is 'lora'. */
  readonly rank?: number
  /** Most likely tokens of the dense model to go by at each position, with a bucket of others; 0: all. @default 1024 */
  readonly top?: number
  /** Steps between two measurements. */
  readonly every: number
  /** Of the order of the windows, and of the first values of low-rank updates. */
  readonly seed: number
  /** Of half-blocks on the way to gradients; what is measured is in float32. @default 'float32' */
  readonly products?: Precision
}

/** What is healed on, and measured on, of one length. */
export interface HealWindows {
  readonly windows: readonly Int32Array[]
  readonly heldOut: readonly Int32Array[]
}

export interface Healed {
  /** The best, to be read while the context's pool is open. */
  readonly model: Model
  /** Step that it is of. */
  readonly step: number
  /** Largest rate that led there. */
  readonly lr: number
  /** From step 0 on. */
  readonly curve: readonly Point[]
}

/** A measurement so much worse than the start goes back to the best weights, and the rate falls to that part. */
const [WORSE, SLOWER] = [1.1, 1 / 4]

/** @throws UsageError for models that do not go together */
export function checkHealed(pruned: Model, dense: Model): void {
  const [p, q] = [pruned, dense].map(({ architecture }) => architecture)
  const [name, denseName] = [pruned, dense].map(({ checkpoint }) => checkpoint.name)
  for (const [what, ours, theirs] of [
    ['a vocabulary', p.vocabularySize, q.vocabularySize],
    ['a hidden size', p.hiddenSize, q.hiddenSize],
  ] as const)
    if (ours !== theirs)
      throw new UsageError(
        `${name} has ${what} of ${ours}, and ${denseName} of ${theirs}. ` +
          'Give the model that it was pruned from as --dense.',
      )
}

/**
 * @param typeOf the type that a tensor is written in
 * @param saved goes on after the last step that an earlier run had saved; what comes of the dense model is made again
 * @throws NumericError where no step brings the model nearer to the dense one
 */
export async function* heal(
  context: Context,
  model: Model,
  dense: Model,
  { windows, heldOut }: HealWindows,
  { steps, batch, lr, train, rank, top = HEAL_DEFAULTS.top, every, seed, products }: HealSteps,
  typeOf: (name: string) => FloatDType,
  saved: Saved = UNSAVED,
): Progress<Healed> {
  const { engine, signal, group = ALONE } = context
  const { halves } = model.architecture
  const updates = rank ? { rank, seed } : undefined
  const { trained, weights } = await TrainedWeights.open(context, model, trainedHalves(halves, train), updates)
  const sums = await trained.room()
  const [means, squares] = [await trained.room(), await trained.room()]
  const distance = yield* Distance.open(context, dense, heldOut)
  const own = ownWindows(group, windows.length, { steps, batch, seed })
  const alone = { ...context, group: undefined } // with what is this rank's already
  const ofOwn = own.map(w => windows[w])
  const places = new Map(own.map((w, place) => [w, place]))
  const teacher = own.length > 0 ? yield* openTeacher(alone, distance.head, ofOwn, top, products) : undefined
  const head = await Head.open(model, engine)
  const best = await trained.room() // the weights of the best step
  await copy(weights, best)
  const held = async () => new Map(Object.entries({ weights, means, squares, best }))
  saved.holds({ streams: { healing: { held, whole: true } } })

  const length = windows[0].length
  yield { type: 'phase', phase: 'heal', total: steps * batch * length, unit: 'tokens' }
  const before = yield* saved.step('step 0', () => distance.of(model, head, readHalves(model, halves)))
  if (!Number.isFinite(before)) await fail(noNumber(model))
  const curve: Point[] = []
  let least = { step: 0, kl: before, lr: 0 }
  let [peak, began] = [lr ?? HEAL_DEFAULTS.rates[train], 0] // Adam's means are of the steps after `began`
  yield* measured(0, before)
  const order = shuffled(windows.length, seed)
  for (let step = 1; step <= steps; step++) {
    signal?.throwIfAborted()
    const these = Array.from({ length: batch }, () => order.next().value)
    const kl = yield* saved.step(`step ${step}`, () => advance(step, these))
    yield { type: 'progress', done: step * batch * length }
    if (kl === undefined) continue
    if (lr !== undefined && !Number.isFinite(kl)) {
      yield { type: 'notice', message: `Step ${step} comes to no numbers; a lower --lr may help.` }
      break
    }
    yield* measured(step, kl)
    if (kl < least.kl) least = { step, kl, lr: peak }
    if (!tooFast(kl) || step === steps) continue
    ;[peak, began] = [peak * SLOWER, step]
    yield { type: 'notice', message: `Worse than the start: back to step ${least.step}, and on at a rate of ${peak}.` }
  }
  yield* saved.restore() // where all steps were done
  if (least.step === 0) await fail(notBetter(model, curve))
  return { model: trained.healed(best), step: least.step, lr: least.lr, curve }

  async function fail(error: NumericError): Promise<never> {
    await saved.drop()
    throw error
  }

  /** One step on these windows: the distance, where it is measured; none where gradients are no numbers any more. */
  async function advance(step: number, these: readonly number[]): Promise<number | undefined> {
    const mine = these.filter(w => places.has(w))
    const loss = teacher?.loss(mine.map(w => places.get(w)!))
    let norm = 0 // squared
    await gradients(
      alone,
      model,
      mine.map(w => windows[w]),
      throughHead(head, loss!), // without windows it is not asked
      async (half, of) => {
        norm += await trained.keep(sums, weights, half, of)
      },
      { weights: of => trained.read(weights, of), wanted: trained.isTrained, tokens: batch * length, products },
    )
    if (!Number.isFinite(norm)) return reached(NaN)
    // Powers and cosines are rounded otherwise on other machines; what follows is not.
    const taken = await group.decide(() => adamAt(step - began, rateOf(step, steps, peak), clipping(norm)))
    await trained.change({ w: weights, g: sums, m: means, v: squares }, ['w', 'm', 'v'], of =>
      adamStep(of, taken, !rank),
    )
    if (step % every !== 0 && step !== steps) return undefined
    const written = trained.read(weights, halves, (values, name) => asStored(values, typeOf(name)))
    return reached(await distance.of(model, head, written))
  }

  /** Keeps weights that are the best, and goes back to those from others that are too far. */
  async function reached(kl: number): Promise<number> {
    if (kl < least.kl) await copy(weights, best)
    if (!tooFast(kl)) return kl
    await copy(best, weights)
    await trained.change({ m: means, v: squares }, ['m', 'v'], ({ m, v }) => {
      m.fill(0)
      v.fill(0)
    })
    return kl
  }

  function tooFast(kl: number): boolean {
    return lr === undefined && !(kl <= WORSE * before)
  }

  function copy(from: Activations, to: Activations): Promise<void> {
    return trained.change({ from, to }, ['to'], of => of.to.set(of.from))
  }

  function* measured(step: number, kl: number): Generator<ProgressEvent> {
    if (!Number.isFinite(kl)) return
    curve.push({ step, kl })
    yield { type: 'divergence', step, steps, kl }
  }
}

const noNumber = ({ checkpoint: { name } }: Model): NumericError =>
  new NumericError(
    `${name}: its distance to the dense model comes to no number. The weights of one of them are damaged; ` +
      'fasp verify says more of a model that fasp wrote.',
  )

const notBetter = ({ checkpoint }: Model, [before, ...after]: readonly Point[]): NumericError => {
  const found = Math.min(...after.map(({ kl }) => kl))
  const least = after.length > 0 ? `, and ${found.toFixed(4)} at best after it` : ''
  return new NumericError(
    `${checkpoint.name}: healing did not bring it nearer to the dense model: on held-out windows KL was ` +
      `${before.kl.toFixed(4)}${least}. Nothing is written. Another --lr or more --tokens may help.`,
  )
}

/** The windows of this rank, ascending: its share of each step, as they come for the first time. */
function ownWindows(
  group: Group,
  n: number,
  { steps, batch, seed }: Pick<HealSteps, 'steps' | 'batch' | 'seed'>,
): number[] {
  const order = shuffled(n, seed)
  const first = Array.from({ length: Math.min(n, steps * batch) }, () => order.next().value)
  const ofSteps = Array.from({ length: Math.ceil(first.length / batch) }, (_, s) =>
    first.slice(s * batch, (s + 1) * batch),
  )
  return ofSteps.flatMap(windows => group.share(windows)).sort((a, b) => a - b)
}

/** The numbers below `n` in an order that the seed gives, again and again in another. */
function* shuffled(n: number, seed: number): Generator<number, never> {
  const random = randomNumbers(seed)
  const order = Array.from({ length: n }, (_, i) => i)
  for (;;) {
    for (let i = n - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1))
      ;[order[i], order[j]] = [order[j], order[i]]
    }
    yield* order
  }
}
