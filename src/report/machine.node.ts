// What a result says of the machine that it was made on.
import { cpus, totalmem } from 'node:os'
import { describeEngine } from '../engine/engine.node.ts'
import type { EngineOptions, Precision } from '../engine/engine.ts'
import type { Machine } from './result-file.ts'

/** @param products of the runs @throws UsageError where the options or the products are nothing for this machine */
export const describeMachine = (options?: EngineOptions, products?: Precision): Machine => ({
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  cores: cpus().length,
  memoryBytes: totalmem(),
  platform: `${process.platform} ${process.arch}`,
  node: process.versions.node,
  ...describeEngine(options, products),
})

/** Peak resident memory of this process in bytes. */
export const peakMemory = (): number => process.resourceUsage().maxRSS * 1024
