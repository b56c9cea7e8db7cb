// Whether the CPU multiplies bytes exactly, by what the system says of it and not by our own check; where it says nothing, it is taken to.
import { existsSync, readFileSync } from 'node:fs'

const CPU = '/proc/cpuinfo'

export const INT8 = process.arch !== 'x64' || !existsSync(CPU) || /\bavx(512)?_vnni\b/.test(readFileSync(CPU, 'utf8'))
