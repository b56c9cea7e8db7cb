// What the page is told of plans, runs and results, of whatever computes them: workers of the page, or `fasp ui`.
import { FaspError } from '../base/errors.ts'
import type { ProgressEvent, PrunedLayer } from '../base/events.ts'
import type { Architecture, Plan, PruneResult, PushResult, ResolvedOptions } from '../index.ts'
import type { HalfError, PlanFacts, PrunedFacts, Pushed, Said, Side, Speed, Told } from './protocol.ts'

type Tell = (told: Told) => void

/** How a call ends that has thrown. */
export const failed = (error: unknown, { aborted }: AbortSignal): Extract<Said, { type: 'failed' }> => {
  const message = error instanceof Error ? error.message : String(error)
  return { type: 'failed', message, stopped: aborted, ours: error instanceof FaspError }
}

/** Windows of a text for its perplexity: enough for a figure, few enough to wait for. */
export const MEASURED_WINDOWS = 32

/** @param more what depends on who computes */
export function planFacts(
  { sparsity, widths, sizes }: Plan,
  { windows, seqLen, method, layout }: ResolvedOptions,
  more: Pick<PlanFacts, 'memoryBytes' | 'notices' | 'output' | 'vocabulary' | 'flops' | 'tooLarge'>,
): PlanFacts {
  return { sparsity, widths, sizes, options: { windows, seqLen, method, layout }, ...more }
}

/** What the page is told of the library's events. */
export const passOn = (tell: Tell) => (event: ProgressEvent) => {
  if (event.type !== 'selected' && event.type !== 'windows' && event.type !== 'text') tell(event)
}

/** The same while a model is pruned: of each layer its errors, too. */
export function passOnErrors(a: Architecture, tell: Tell): (event: ProgressEvent) => void {
  const errors: HalfError[] = []
  return event => {
    if (event.type !== 'progress' || !event.layer) return passOn(tell)(event)
    const { layer, ...progress } = event
    const at = event.done - 1
    tell(progress)
    if (errors.some(error => error.layer === at)) return
    errors.push(...errorsOf(a, at, layer))
    tell({ type: 'errors', errors: [...errors] })
  }
}

/** Of half-blocks that were cut. */
function errorsOf(a: Architecture, layer: number, pruned: PrunedLayer): HalfError[] {
  return a.halves
    .filter(half => half.layer === layer)
    .flatMap(half => {
      const result = pruned[half.kind]
      const of = half.kind === 'attention' ? half.kvHeads * half.headSize : (half.experts?.router.out ?? a.ffnWidth)
      if (!result || result.kept.length >= of) return []
      const { kept, errorBefore, errorAfter } = result
      return [{ layer, half: half.kind, kept: kept.length, of, before: errorBefore, after: errorAfter }]
    })
}

/** @param a of the model as it was */
export function prunedFacts(a: Architecture, result: PruneResult): PrunedFacts {
  const { sizes, options, notices, seconds, calibration, layers } = result
  const { method, sparsity, seed, windows, seqLen } = options
  const gone = new Set(result.removedLayers?.map(({ layer }) => layer))
  const stay = [...new Set(a.halves.map(half => half.layer))].filter(layer => !gone.has(layer))
  const losses = calibration.texts.flatMap(({ loss }) => loss?.heldOut ?? [])
  const held = losses.reduce((n, loss) => n + loss.windows, 0)
  const mean = (side: Side) => losses.reduce((sum, loss) => sum + loss.windows * loss[side], 0) / held
  return {
    ...{ sizes, notices, method, sparsity, seed, windows, seqLen },
    errors: layers.flatMap((layer, i) => errorsOf(a, stay[i], layer)),
    seconds: Object.values(seconds).reduce((a, b) => a + b, 0),
    heldOut: held
      ? { dense: mean('dense'), pruned: mean('pruned'), windows: held, own: calibration.source === 'self' }
      : undefined,
  }
}

export const pushedFacts = ({ url, files, bytes }: PushResult): Pushed => ({ url, files: files.length, bytes })

/** Tells the text that one of both models writes. @param generate writes it @returns how fast it was */
export async function written(
  side: Side,
  tell: Tell,
  generate: (onEvent: (event: ProgressEvent) => void) => Promise<{ readonly ids: readonly number[] }>,
): Promise<Speed> {
  const times: number[] = []
  const { ids } = await generate(event => {
    if (event.type !== 'text') return
    times.push(performance.now())
    tell({ type: 'text', side, text: event.text })
  })
  return { tokens: ids.length, tokensPerSecond: usualSpeed(times) }
}

/** By the median time of the later half of the tokens: the first wait for graphs. @param times milliseconds */
function usualSpeed(times: readonly number[]): number | undefined {
  const later = times.slice(Math.floor(times.length / 2))
  const between = later.slice(1).map((time, i) => time - later[i])
  const median = between.sort((a, b) => a - b)[Math.floor(between.length / 2)]
  return median > 0 ? 1000 / median : undefined
}
