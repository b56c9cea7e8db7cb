// Options of `prune` before there is a model: what is wrong on any model is told before one is fetched.
import type { CalibrationInput } from './calibrate/calibration.ts'
import type { Architecture } from './model/architecture.ts'
import { type PruneOptions, resolveOptions } from './options.ts'

/** A model on which all is possible that is possible on any. */
const ANY_MODEL = {
  ...{ maxPositions: 1e9, ffnWidth: 1e9, postNorm: false },
  bias: { qkv: true, o: true, ffn: true },
} as Architecture

/** All but widths and lengths, whose ranges are the model's. @throws UsageError as `resolveOptions` */
export function checkOptions({ seqLen, multiple, ...options }: PruneOptions, calibration: CalibrationInput): void {
  resolveOptions(options, ANY_MODEL, calibration)
}
