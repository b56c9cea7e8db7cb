// Messages of libraries when a device fails in the middle of its work, and what they mean to the user. Under ONNX
// Runtime on WebGPU, Dawn reports a buffer that it could not make when the buffer is used, and a lost device when
// something is read from it (bench/log.md).
import { DeviceError, RUNNING } from '../../base/errors.ts'

interface Fault {
  readonly says: RegExp
  readonly problem: string
}

const anyOf = (...texts: readonly string[]) => new RegExp(texts.join('|'), 'i')

/** The first that fits counts. Texts of ONNX Runtime 1.30, Dawn (also in a browser), CUDA and its libraries. */
const FAULTS: readonly Fault[] = [
  {
    says: anyOf(
      'out of memory',
      '\\[?Invalid Buffer',
      'Failed to (create GPU buffer|allocate memory)',
      'OUT_OF_(DEVICE|HOST)_MEMORY|_STATUS_ALLOC_FAILED',
    ),
    problem:
      'it has no room left for what a run takes. Give less of it to what stays there (--device-memory; deviceMemory)',
  },
  {
    says: /CUDA failure (6|702):|launch timed out/i,
    problem:
      'its driver ended a run that took too long for it. Free the device of other work, or raise the limit of its ' +
      'driver',
  },
  {
    says: /\bis lost\b|device[ _]?lost|Instance reference no longer exists|CUDA failure (46|7\d\d|999):/i,
    problem: 'it was lost: its driver was reset, or the device was taken away. See what the system’s log says of it',
  },
]

/** The error of a device; undefined where the device is not at fault. */
export function faultOf(device: string, cause: unknown): DeviceError | undefined {
  if (cause instanceof DeviceError) return cause
  const problem = problemOf(String(cause instanceof Error ? cause.message : cause), 'ONNX Runtime')
  return problem === undefined ? undefined : new DeviceError(device, problem, { cause }, RUNNING)
}

/** The meaning of a message, and what to do. @param by its author @param otherwise the meaning of an unknown message */
export function problemOf(said: string, by: string, otherwise: string): string
export function problemOf(said: string, by: string, otherwise?: string): string | undefined
export function problemOf(said: string, by: string, otherwise?: string): string | undefined {
  const problem = FAULTS.find(({ says }) => says.test(said))?.problem ?? otherwise
  if (problem === undefined) return undefined
  return `${problem}, and run again: --resume goes on from what was saved. ${by} said: ${lastOf(said.trim())}`
}

/** The message without place and condition in the runtime's source. */
const lastOf = (said: string): string => said.split('\n')[0].replace(/^.* was false\. /, '')

/** Throws what a run failed with: where the device is at fault DeviceError. The CPU is at no fault. */
export const faulting =
  (device: string) =>
  (cause: unknown): never => {
    throw (device !== 'cpu' && faultOf(device, cause)) || cause
  }
