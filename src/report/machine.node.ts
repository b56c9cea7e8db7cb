// What a result says of the machine that it was made on.
import { cpus, totalmem } from 'node:os'
import { openBlas } from '../engine/blas.node.ts'
import { runtimeVersion } from '../engine/engine.node.ts'
import type { EngineOptions } from '../engine/engine.ts'
import { nativeGraphs } from '../engine/native.node.ts'
import type { Machine } from './result-file.ts'

export const describeMachine = ({ device = 'cpu', threads, blas }: EngineOptions): Machine => ({
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  cores: cpus().length,
  memoryBytes: totalmem(),
  platform: `${process.platform} ${process.arch}`,
  node: process.versions.node,
  onnxruntime: runtimeVersion,
  device,
  ...(device === 'cpu' ? { graphs: nativeGraphs(runtimeVersion) ? 'C interface' : 'binding' } : {}),
  threads,
  ...(blas === undefined ? {} : { blas: openBlas(blas, threads).name }),
})

/** Peak resident memory of this process in bytes. */
export const peakMemory = (): number => process.resourceUsage().maxRSS * 1024
