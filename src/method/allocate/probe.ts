// The probe: short windows, spread over the calibration windows, for what is measured on the whole model again and again.
import { spread } from '../../text/windows.ts'

/** Tokens of a probe window. */
const PROBE_LENGTH = 256

/** About `tokens` tokens: the beginnings of as many of the windows. */
export function probeWindows(windows: readonly Int32Array[], tokens: number): Int32Array[] {
  const length = Math.min(PROBE_LENGTH, windows[0].length)
  return some(windows, Math.ceil(tokens / length)).map(window => window.subarray(0, length))
}

/** `n` of the windows, or all, spread over them. */
export const some = <T>(windows: readonly T[], n: number): T[] =>
  spread(windows.length, Math.min(n, windows.length)).map(i => windows[i])
