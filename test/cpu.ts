// What this machine's CPU has, by what the system says of it and not by our own checks.
import { existsSync, readFileSync } from 'node:fs'
import { isWanted } from './devices.ts'

const CPU = '/proc/cpuinfo'

/** What is said of it, its flags among it; undefined where the system or the processor does not say it so. */
const flags = process.arch === 'x64' && existsSync(CPU) ? readFileSync(CPU, 'utf8') : undefined

export const AMX = flags !== undefined && /\bamx_int8\b/.test(flags)

/** OpenVINO's plugin takes no other. */
const INTEL = flags !== undefined && /^vendor_id\s*: GenuineIntel$/m.test(flags)

/** Whether OpenVINO has products in bfloat16 here: in the suite `machine`, where .ci/machine.sh has installed its plugin, and on Intel's CPUs. */
export const BF16 = INTEL && /\b(avx512_bf16|amx_bf16)\b/.test(flags!) && isWanted('openvino')
