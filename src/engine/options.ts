// What users say of the engine: as the library takes it, and as the command line does.
import { DEVICES, type Device } from './device.ts'

export interface EngineOptions {
  /** Where the graphs run; what a GPU's provider has no kernel for runs on the CPU. @default 'cpu' */
  readonly device?: Device
  /** Threads of one operator. @default one for each physical core */
  readonly threads?: number
  /**
   * In Node, on the CPU: a library with BLAS and LAPACK that takes over Gram matrices, solves and other products outside graphs. Its path,
   * its name where the system's loader finds it, or `auto`, which looks for one (docs/devices.md); `false` or `none` for none.
   * @default OpenBLAS, where it is installed and known to be faster (Linux, x64 with AVX2 and without AVX-512)
   */
  readonly blas?: string | false
}

/** Of every command that runs a model. */
export const ENGINE_OPTIONS = {
  device: { type: 'text', choices: DEVICES, help: 'where to run (default cpu)' },
  threads: { type: 'integer', help: 'threads (default: one a physical core)' },
} as const

/** Of commands that prune, too. */
export const LINALG_OPTIONS = {
  blas: { type: 'text', value: 'library', help: 'BLAS for Gram matrices, solves: auto, none, path' },
} as const

/** The engine's among other options. */
export const engineOptions = ({ device, threads, blas }: EngineOptions): EngineOptions => ({ device, threads, blas })
