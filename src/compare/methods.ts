// What a comparison runs: each method at each sparsity, with the options that `prune` takes for it.

import { UsageError } from '../errors.ts'
import { METHOD_NAMES } from '../methods.ts'
import type { Model } from '../model/model.ts'
import { MAX_SPARSITY, PRESETS, type PruneOptions } from '../options.ts'
import { checkOptions, prepare } from '../run.ts'
import type { CalibrationInput } from '../text/calibration.ts'

/** Options of a method: those of `prune` that are not the same for all runs of a comparison. */
export type MethodOptions = Omit<PruneOptions, (typeof SHARED)[number]>
const SHARED = ['sparsity', 'samples', 'seqLen', 'heldOut', 'seed', 'memory'] as const

export interface CompareMethod {
  /** What the results call it. */
  readonly name: string
  readonly options: MethodOptions
}

/** One run of the grid. */
export interface Cell {
  readonly name: string
  /** What tells the run from others of its protocol. */
  readonly asked: MethodOptions & Pick<PruneOptions, 'sparsity'>
  /** All options of `prune`. */
  readonly options: PruneOptions
}

/** What a result says of a run, whatever came of it. */
export const runOf = ({ name, asked }: Cell) => ({ name, sparsity: asked.sparsity, asked })

/** Equal for a run and the cell that it came from. */
export const keyOf = (of: { readonly name: string; readonly asked?: object }): string =>
  JSON.stringify([of.name, of.asked])

/** What `compareMethod` knows: the methods of `prune`, of which `fasp` has presets, too. */
const COMPARE_METHODS: readonly string[] = [...Object.keys(PRESETS), ...METHOD_NAMES]

/** The method or preset of that name. @throws UsageError */
export function compareMethod(name: string, more: MethodOptions = {}): CompareMethod {
  if (Object.hasOwn(PRESETS, name)) return { name, options: { preset: name as keyof typeof PRESETS, ...more } }
  const method = METHOD_NAMES.find(one => one === name)
  if (method) return { name, options: { method, ...more } }
  throw new UsageError(`method "${name}" is unknown; there is: ${COMPARE_METHODS.join(', ')}.`)
}

/** All runs, sparsity by sparsity. @throws UsageError for an empty grid, one that names something twice, a sparsity out of range */
export function grid(
  methods: readonly CompareMethod[],
  sparsities: readonly number[],
  shared: Pick<PruneOptions, 'samples' | 'seqLen' | 'seed' | 'memory'>,
): Cell[] {
  if (methods.length === 0) throw new UsageError('no methods. Name at least one, for example --methods paper,best.')
  if (sparsities.length === 0) throw new UsageError('no sparsity. Give at least one, for example --sparsity 0.2,0.3.')
  once(
    'method',
    methods.map(({ name }) => name),
  )
  once('sparsity', sparsities)
  for (const sparsity of sparsities)
    if (!(sparsity > 0 && sparsity <= MAX_SPARSITY))
      throw new UsageError(
        `sparsity is ${sparsity}; it must be a number above 0 and up to ${MAX_SPARSITY}. The dense model is always measured.`,
      )
  return sparsities.flatMap(sparsity =>
    methods.map(({ name, options }) => {
      const asked = { ...options, sparsity }
      return { name, asked, options: { ...asked, ...shared, heldOut: 0 } } // the texts show what held-out windows would
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
