// The probe: short windows, spread over the calibration windows, for repeated measurements of the whole model.
import { spread } from '../../text/windows.ts'

/** Tokens of a probe window. */
const PROBE_LENGTH = 256

/** Beginnings of windows, about `tokens` tokens in all. */
export function probeWindows(windows: readonly Int32Array[], tokens: number): Int32Array[] {
  const length = Math.min(PROBE_LENGTH, windows[0].length)
  return some(windows, Math.ceil(tokens / length)).map(window => window.subarray(0, length))
}

/** At most `n` windows, spread over all. */
export const some = <T>(windows: readonly T[], n: number): T[] =>
  spread(windows.length, Math.min(n, windows.length)).map(i => windows[i])
