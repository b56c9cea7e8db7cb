// What a result says of the machine that it was made on.
import { cpus, totalmem } from 'node:os'
import { runtimeVersion } from '../engine/engine.node.ts'
import type { EngineOptions } from '../engine/engine.ts'
import type { Machine } from './result-file.ts'

export const describeMachine = ({ device = 'cpu', threads }: EngineOptions): Machine => ({
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  cores: cpus().length,
  memoryBytes: totalmem(),
  platform: `${process.platform} ${process.arch}`,
  node: process.versions.node,
  onnxruntime: runtimeVersion,
  device,
  threads: threads ?? cpus().length,
})

/** Peak resident memory of this process in bytes. */
export const peakMemory = (): number => process.resourceUsage().maxRSS * 1024
