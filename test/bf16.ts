// Whether this machine has products in bfloat16, by what the system says of its CPU and not by our own check: they need Linux x64 besides.
// `.ci/openvino.sh` installs OpenVINO's plugin. With FASP_REQUIRE_BF16=1, as in CI, it must be there.
import { existsSync, readFileSync } from 'node:fs'
import { openEngine } from '../src/node.ts'

const CPU = '/proc/cpuinfo'

/** Of the CPU. */
const instructions =
  process.arch === 'x64' && existsSync(CPU) && /\b(avx512_bf16|amx_bf16)\b/.test(readFileSync(CPU, 'utf8'))

function plugin(): boolean {
  try {
    openEngine().bf16()
    return true
  } catch {
    return false
  }
}

export const BF16 = instructions && (process.env.FASP_REQUIRE_BF16 === '1' || plugin())
