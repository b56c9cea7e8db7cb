// What a result says of the machine that it was made on.
import { cpus, totalmem } from 'node:os'
import { openEngine, runtimeVersion } from '../engine/engine.node.ts'
import type { EngineOptions, Precision } from '../engine/engine.ts'
import { nativeGraphs } from '../engine/native.node.ts'
import { openOpenVino } from '../engine/openvino.node.ts'
import type { Machine } from './result-file.ts'

/** @param products of the runs @throws UsageError where the options or the products are nothing for this machine */
export function describeMachine(options: EngineOptions, products?: Precision): Machine {
  const { device = 'cpu', threads } = options
  const engine = openEngine(options)
  const graphs = engine.inPrecision(products)
  void engine.close() // nothing was run on it
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    platform: `${process.platform} ${process.arch}`,
    node: process.versions.node,
    onnxruntime: runtimeVersion,
    device,
    ...(device === 'cpu' ? { graphs: nativeGraphs(runtimeVersion) ? 'C interface' : 'binding' } : {}),
    threads,
    ...(engine.blas ? { blas: engine.blas.name } : {}),
    ...(graphs.precision === 'bf16' ? { openvino: openOpenVino(runtimeVersion).name } : {}),
  }
}

/** Peak resident memory of this process in bytes. */
export const peakMemory = (): number => process.resourceUsage().maxRSS * 1024
