// What this machine's CPU has, by what the system says of it and not by our own checks.
import { existsSync, readFileSync } from 'node:fs'
import { openEngine } from '../src/node.ts'

const CPU = '/proc/cpuinfo'

/** Its flags, undefined where the system or the processor does not say them so. */
const flags = process.arch === 'x64' && existsSync(CPU) ? readFileSync(CPU, 'utf8') : undefined

/** Whether it multiplies bytes exactly; where nothing is said of it, it is taken to. */
export const INT8 = flags === undefined || /\bavx(512)?_vnni\b/.test(flags)

export const AMX = flags !== undefined && /\bamx_int8\b/.test(flags)

/**
 * Whether it has products in bfloat16, and OpenVINO's plugin is there, which `.ci/openvino.sh` installs. With FASP_REQUIRE_OPENVINO=1, as in
 * CI, the plugin must be there.
 */
export const BF16 =
  flags !== undefined &&
  /\b(avx512_bf16|amx_bf16)\b/.test(flags) &&
  (process.env.FASP_REQUIRE_OPENVINO === '1' || hasPlugin())

function hasPlugin(): boolean {
  try {
    openEngine().inPrecision('bf16')
    return true
  } catch {
    return false
  }
}
