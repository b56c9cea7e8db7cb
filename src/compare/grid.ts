// What a comparison runs: each method at each sparsity, with the options that `prune` takes for it.
import { UsageError } from '../base/errors.ts'
import { healedText } from '../checkpoint/pruning-record.ts'
import { MAX_SPARSITY } from '../method/least-sparsity.ts'
import { methodOf } from '../method/method-text.ts'
import type { Model } from '../model/model.ts'
import type { PruneOptions } from '../options/options.ts'
import { checkOptions, prepare } from '../prune/run.ts'
import type { CalibrationInput } from '../text/calibration.ts'

/** One run of the grid. */
export interface Cell {
  /** The method, with its options. */
  readonly name: string
  /** What tells the run from others of its protocol. `heal`: tokens, and `lr` where it is not the default. */
  readonly asked: { readonly method: string; readonly sparsity: number; readonly heal?: number; readonly lr?: number }
  /** All options of `prune`. */
  readonly options: PruneOptions
}

/** What a result says of a run, whatever came of it. */
export const runOf = ({ name, asked }: Cell) => ({ name, sparsity: asked.sparsity, healed: asked.heal, asked })

/** How progress calls it. */
export const titled = ({ name, asked: { heal, sparsity } }: Cell) => ({
  name: name + healedText({ healed: heal }),
  sparsity,
})

/** Equal for a run and the cell that it came from. */
export const keyOf = (of: { readonly name: string; readonly asked?: object }): string =>
  JSON.stringify([of.name, of.asked])

/** Equal for cells that prune alike, however they heal. */
export const cellKey = ({ name, options }: Cell): string => JSON.stringify([name, options])

/**
 * All runs, sparsity by sparsity.
 * @param heals tokens that each is healed on, too
 * @throws UsageError for an empty grid, one that names something twice, a sparsity out of range
 */
export function grid(
  methods: readonly string[],
  sparsities: readonly number[],
  shared: Pick<PruneOptions, 'windows' | 'seqLen' | 'seed' | 'memory' | 'products'>,
  heals: readonly number[] = [],
  lr?: number,
): Cell[] {
  if (methods.length === 0) throw new UsageError('no methods. Name at least one, for example --methods paper,best.')
  if (sparsities.length === 0) throw new UsageError('no sparsity. Give at least one, for example --sparsity 0.2,0.3.')
  const names = methods.map(method => methodOf(method).text)
  once('method', names)
  once('sparsity', sparsities)
  once('heal', heals)
  for (const sparsity of sparsities)
    if (!(sparsity > 0 && sparsity <= MAX_SPARSITY))
      throw new UsageError(
        `sparsity is ${sparsity}; it must be a number above 0 and up to ${MAX_SPARSITY}. ` +
          'The dense model is always measured.',
      )
  return sparsities.flatMap(sparsity =>
    names.flatMap(name => {
      const asked = { method: name, sparsity }
      const options = { ...asked, ...shared, heldOut: 0 } // the texts show what held-out windows would
      const cell = { name, asked, options }
      return [cell, ...heals.map(heal => ({ ...cell, asked: { ...asked, heal, ...(lr !== undefined && { lr }) } }))]
    }),
  )
}

/** Prepares each run. @throws UsageError where one makes no sense on this model, naming the run */
export const checkCells = (model: Model, cells: readonly Cell[], calibration: CalibrationInput): void =>
  each(cells, options => prepare(model, options, calibration))

/** What `checkCells` finds without a model. */
export const checkMethods = (cells: readonly Cell[]): void => each(cells, options => checkOptions(options))

function each(cells: readonly Cell[], check: (options: PruneOptions) => unknown): void {
  for (const { name, options } of cells)
    try {
      check(options)
    } catch (error) {
      if (!(error instanceof UsageError)) throw error
      throw new UsageError(`method ${name} at sparsity ${options.sparsity}: ${error.message}`, { cause: error })
    }
}

function once(what: string, values: readonly (string | number)[]): void {
  const twice = values.find((value, i) => values.indexOf(value) < i)
  if (twice !== undefined) throw new UsageError(`${what} ${twice} is named twice. Name it once.`)
}
