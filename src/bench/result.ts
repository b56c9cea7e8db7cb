// What `fasp bench` finds: plain data, printed by `--json` and written by `--output`. table.ts turns it into text.
import { total } from '../clock.ts'
import { passFlops, repairFlops } from '../flops.ts'
import { type Architecture, layersOf } from '../model/architecture.ts'
import type { Plan } from '../plan.ts'
import type { Made } from '../report/result-file.ts'
import type { PruneResult } from '../result.ts'
import type { ProductRate } from './product-rate.ts'

/** A kind of graph that the engine ran, or two kinds; `other: …`, a stage of pruning while it ran nothing; or `other`, what is left. */
export interface Stage {
  readonly kind: string
  readonly seconds: number
  /** Absent where nothing is counted. */
  readonly flops?: number
  readonly gflops?: number
  /** Part of the best measured rate in the stage's type. */
  readonly ofPeak?: number
}

export interface BenchResult extends Made {
  readonly schema: 2
  readonly workload: {
    readonly name: string
    /** Where it was not a random one. */
    readonly model?: string
    /** Where they were asked for. */
    readonly products?: string
    readonly modelType: string
    readonly layers: number
    readonly windows: number
    readonly seqLen: number
    readonly tokens: number
    readonly sparsity: number
    /** GiB of memory for activations. */
    readonly memory: number
  }
  /** Of ONNX Runtime in float32, also where other libraries multiply: stages may then pass the peak. */
  readonly rates: readonly ProductRate[]
  /** The best of them in 10⁹ FLOPs a second. */
  readonly peak: { readonly float32: number; readonly float64: number }
  readonly stages: readonly Stage[]
  /** The products with weights and of Gram matrices, attention excluded: their share of the float32 peak, weighted by time. */
  readonly productsOfPeak: number
  /** FLOPs of one pass (flops.ts), and the seconds they take at the float32 peak. */
  readonly bound: { readonly flops: number; readonly seconds: number }
  /** Wall clock of `prune`, from opening the model to the written folder. */
  readonly totalSeconds: number
  /** `totalSeconds / bound.seconds`. */
  readonly overBound: number
  /** The same against the rate of the large square product alone, which is the usual measure of a machine; other shapes may be faster. */
  readonly overSquareBound: number
  readonly tokensPerSecond: number
  /** By phase, as `prune` gives them. */
  readonly seconds: Readonly<Record<string, number>>
  /** Each layer from the end of the one before; the first from the start of the phase. */
  readonly layerSeconds: readonly number[]
  readonly medianLayerSeconds: number
  /** Bytes to a device with a memory of its own, and back. */
  readonly moved?: PruneResult['moved']
  /** What the whole model would take, where the workload has fewer layers: the median layer for each that is missing. */
  readonly wholeModel?: { readonly layers: number; readonly seconds: number }
  /** Of activations, as planned: in memory, and in the scratch file. */
  readonly activationBytes: Plan['activationBytes']
  readonly peakMemoryBytes: number
}

/** What it finds of models that are named. */
export interface SpeedResult extends Made {
  readonly schema: 1
  /** Of the prompt, and after it, one by one. */
  readonly tokens: { readonly prompt: number; readonly after: number }
  /** By runtime, then in the order of the models. */
  readonly speeds: readonly Speed[]
}

export interface Speed {
  readonly runtime: string
  readonly model: string
  /** Tokens a second, turn by turn. */
  readonly prefill: readonly number[]
  readonly decode: readonly number[]
}

/** One run of `prune` with its wall clock. */
export interface Run {
  readonly result: PruneResult
  readonly seconds: number
  readonly layerSeconds: readonly number[]
}

type Measured = Omit<BenchResult, keyof Made | 'schema' | 'activationBytes' | 'peakMemoryBytes'>

/** Holds the run against the rates. @param wholeLayers layers of the whole model, where the run had fewer */
export function summarise(
  a: Architecture,
  size: Omit<BenchResult['workload'], 'modelType' | 'layers' | 'memory'>,
  wholeLayers: number | undefined,
  rates: readonly ProductRate[],
  { result, seconds: totalSeconds, layerSeconds }: Run,
): Measured {
  const best = (type: string) => Math.max(...rates.filter(r => r.type === type).map(r => r.gflops))
  const square = rates.find(r => r.type === 'float32' && r.shape.every(n => n === r.shape[0]))!
  const peak = { float32: best('float32'), float64: best('float64') }
  const pass = passFlops(a, size.tokens, size.seqLen)
  const { gemm64, ...repairs } = repairFlops(a, result.layers)
  const flops: Readonly<Record<string, number>> = { ...pass, ...repairs, gemm64 }
  const stages = Object.entries({ gemm64: 0, ...result.engineSeconds }).map(([kind, seconds]): Stage => {
    if (flops[kind] === undefined || seconds === 0) return { kind, seconds }
    const gflops = flops[kind] / seconds / 1e9
    const ofPeak = gflops / (kind === 'gemm64' ? peak.float64 : peak.float32)
    return { kind, seconds, flops: flops[kind], gflops, ofPeak }
  })
  const add = (of: readonly Stage[], part: (stage: Stage) => number) => of.reduce((n, stage) => n + part(stage), 0)
  const outside = Object.entries(result.outsideSeconds).map(([name, seconds]) => ({ kind: `other: ${name}`, seconds }))
  const known = total(result.engineSeconds) + total(result.outsideSeconds)
  const products = stages.filter(s => PRODUCTS.includes(s.kind))
  const bound = { flops: total(pass), seconds: total(pass) / peak.float32 / 1e9 }
  const layer = layerSeconds.toSorted((x, y) => x - y)[Math.floor(layerSeconds.length / 2)]
  return {
    workload: { ...size, modelType: a.modelType, layers: layersOf(a), memory: result.options.memory },
    rates,
    peak,
    // Graphs that run beside each other take more seconds than the clock shows.
    stages: [
      ...stages.sort((x, y) => y.seconds - x.seconds),
      ...outside.sort((x, y) => y.seconds - x.seconds),
      { kind: 'other', seconds: Math.max(0, totalSeconds - known) },
    ],
    productsOfPeak: add(products, s => s.flops ?? 0) / add(products, s => s.seconds) / peak.float32 / 1e9,
    bound,
    totalSeconds,
    overBound: totalSeconds / bound.seconds,
    overSquareBound: (totalSeconds * square.gflops * 1e9) / bound.flops,
    tokensPerSecond: size.tokens / totalSeconds,
    seconds: result.seconds,
    layerSeconds,
    medianLayerSeconds: layer,
    moved: result.moved,
    ...(wholeLayers && wholeLayers > layersOf(a)
      ? { wholeModel: { layers: wholeLayers, seconds: totalSeconds + (wholeLayers - layersOf(a)) * layer } }
      : {}),
  }
}

const PRODUCTS: readonly string[] = ['ffn', 'gram', 'residual', 'product', 'energy']
