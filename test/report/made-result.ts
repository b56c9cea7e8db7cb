// A made-up result of `fasp compare`, as large as a real one: every part of a report has something to show. Numbers come from formulas.
import type { HalfSensitivity } from '../../src/method/allocate/sensitivity.ts'
import type { DivergenceResult, Machine, ResultFile, Run, TaskResult } from '../../src/report/result-file.ts'
import { resultFile } from '../../src/report/result-file.ts'
import type { PerplexityResult } from '../../src/result/measured.ts'
import type { LayerResult, PruneResult } from '../../src/result/result.ts'

const LAYERS = 30
const FFN = 1536
const HEAD = 64
const TEXTS = [
  { file: 'wikitext2-test.txt', windows: 24, dense: 23.27, calibratedOn: 'wikitext2-valid.txt' },
  { file: 'c4-like.txt', windows: 16, dense: 18.77 },
]
const TASKS = {
  arc_easy: 0.49,
  arc_challenge: 0.27,
  boolq: 0.6,
  hellaswag: 0.42,
  openbookqa: 0.34,
  piqa: 0.68,
  winogrande: 0.53,
}
/** How steeply each method loses, and what it takes. */
const METHODS = {
  'preset best': { loss: 1.45, seconds: 210, allocation: true },
  'preset stock': { loss: 1.9, seconds: 130 },
  plain: { loss: 2.3, seconds: 75 },
  flap: { loss: 2.6, seconds: 60 },
  'wanda-sp': { loss: 4.4, seconds: 48 },
  magnitude: { loss: 14, seconds: 20 },
}
const SPARSITIES = [0.1, 0.2, 0.3, 0.5]
const PROMPTS = ['Once upon a time', 'The capital of France is', 'Water boils when']

export const MACHINE: Machine = {
  ...{ cpu: 'AMD EPYC 9R14', cores: 2, memoryBytes: 16e9, platform: 'linux x64' },
  ...{ node: '20.20.2', onnxruntime: '1.30.0', device: 'cpu', threads: 2 },
}

const perplexity = (loss: number, sparsity: number): PerplexityResult[] =>
  TEXTS.map(({ file, windows, dense, calibratedOn }, i) => {
    const value = dense * Math.exp(loss * sparsity * (1 + sparsity) * (1 + 0.3 * i))
    const size = { windows, seqLen: 1024, tokens: windows * 1023, bos: false }
    return {
      file,
      ...size,
      perplexity: value,
      standardError: value * 0.08,
      bitsPerByte: Math.log2(value) / 4.3,
      ...(sparsity > 0 ? { calibratedOn } : {}),
    }
  })

const tasks = (loss: number, sparsity: number): TaskResult[] =>
  Object.entries(TASKS).map(([task, dense], i) => {
    const chance = [0.25, 0.25, 0.5, 0.25, 0.25, 0.5, 0.5][i]
    const value = chance + (dense - chance) * Math.exp(-loss * sparsity)
    const standardError = Math.sqrt((value * (1 - value)) / 200)
    const norm = ['arc_easy', 'arc_challenge', 'hellaswag', 'openbookqa', 'piqa'].includes(task)
    const accuracyNorm = norm ? { value: value + 0.01, standardError } : undefined
    return { task, version: '1.0', items: 200, accuracy: { value, standardError }, accuracyNorm }
  })

const divergence = (loss: number, sparsity: number): DivergenceResult[] =>
  TEXTS.map(({ file, windows }) => ({
    ...{ file, windows, seqLen: 1024 },
    kl: loss * sparsity * 0.6,
    topAgreement: 0.35 + 0.65 * Math.exp(-loss * sparsity * 0.7),
  }))

const WORDS = { task: 'wikitext', version: '2.0', documents: 62, seqLen: 2048, bytePerplexity: 1.9, bitsPerByte: 0.93 }

const range = (n: number) => Array.from({ length: n }, (_, i) => i)

function pruneResult(loss: number, sparsity: number, seconds: number, allocated: boolean): PruneResult {
  const bend = (layer: number) => (allocated ? 0.35 * sparsity * Math.cos((2 * Math.PI * layer) / LAYERS) : 0)
  const keep = (layer: number) => 1 - sparsity * 1.1 + bend(layer)
  const widths = range(LAYERS).map(i => ({
    ffn: 32 * Math.round((FFN * keep(i)) / 32),
    value: Math.round(HEAD * keep(i)),
  }))
  const half = (layer: number, kept: number) => {
    const errorAfter = sparsity * loss * 0.08 * (0.5 + layer / LAYERS) * (1 + 0.3 * Math.sin(layer))
    return {
      kept: range(kept),
      errorBefore: errorAfter * 1.8,
      errorAfter,
      heldOutError: errorAfter * (1.3 + 0.02 * layer),
      damp: 0.01,
    }
  }
  const layers = widths.map(({ ffn, value }, i): LayerResult => ({ attention: half(i, 3 * value), ffn: half(i, ffn) }))
  const linears = 106_168_320
  const curve = (full: number, cost: number) =>
    range(8).map(i => ({ width: Math.round(full * (1 - i / 8)), cost: cost * (i / 4) ** 2.2 }))
  const halfBlocks = range(LAYERS).flatMap((layer): HalfSensitivity[] => {
    const cost = 0.004 + 0.03 / (1 + layer) + 0.0004 * layer
    return [
      {
        layer,
        kind: 'attention',
        probe: { width: 32, cost: cost / 3 },
        curve: curve(HEAD, cost / 3),
        width: widths[layer].value,
      },
      { layer, kind: 'ffn', probe: { width: 768, cost }, curve: curve(FFN, cost), width: widths[layer].ffn },
    ]
  })
  return {
    ...{ schema: 1, fasp: '0.1.0' },
    source: { name: 'SmolLM2-135M-Instruct', format: 'huggingface', modelType: 'llama' },
    options: { sparsity, scope: 'ffn+vo', layout: 'compact', windows: 32, seqLen: 1024 } as PruneResult['options'],
    widths: { before: { ffn: FFN, value: HEAD }, after: widths },
    sizes: {
      decoderLinears: { before: linears, after: linears * (1 - sparsity) },
      parameters: {
        before: 134_515_008,
        stored: 134_515_008 - linears * sparsity,
        effective: 134_515_008 - linears * sparsity,
      },
      weightBytes: { before: 269e6, after: 269e6 - 2 * linears * sparsity },
    },
    ...(allocated ? { allocation: { probeTokens: 1024, halfBlocks } } : {}),
    calibration: {
      ...{ source: 'texts', seqLen: 1024 },
      texts: ['wikitext2-valid.txt', 'novels.txt'].map((name, i) => ({
        ...{ name, tokens: 250_000, available: 240, used: 16, heldOut: 2 },
        loss: {
          calibratedOn: { windows: 2, dense: 3.1, pruned: 3.1 + loss * sparsity * 0.8 },
          heldOut: { windows: 2, dense: 3.2, pruned: 3.2 + loss * sparsity * (0.9 + 0.1 * i) },
        },
      })),
    },
    layers,
    notices: sparsity > 0.4 ? ['layer 3: the damping was raised to 0.1, since the matrix could not be factored.'] : [],
    seconds: {
      'calibration text': 1,
      ...(allocated ? { allocate: seconds * 0.4 } : {}),
      prune: seconds * 0.55,
      write: 1.5,
    },
    engineSeconds: { attention: seconds * 0.2, ffn: seconds * 0.15, gram: seconds * 0.1, gemm64: seconds * 0.08 },
    outsideSeconds: { reading: seconds * 0.02, repair: seconds * 0.01 },
  }
}

const samples = (loss: number, sparsity: number) =>
  PROMPTS.map(prompt => ({
    prompt,
    text:
      loss * sparsity > 1.5
        ? ' the the of the, and the of the the.'
        : `, and there was ${'a small house by the river, '.repeat(3)}`,
  }))

const FAILED: Run = {
  ...{ name: 'osscar', sparsity: 0.5, failed: 'The process ran out of memory.' },
  ...{ perplexity: [], tasks: [], samples: [], seconds: {} },
}

export function madeResult(): ResultFile {
  const dense: Run = {
    ...{ name: 'dense', sparsity: 0 },
    ...{
      perplexity: perplexity(0, 0),
      tasks: tasks(0, 0),
      samples: samples(0, 0),
      seconds: { evaluate: 61, tasks: 190 },
    },
    ...{ peakMemoryBytes: 0.9e9, tokensPerSecond: 310 },
  }
  const pruned = Object.entries(METHODS).flatMap(([name, { loss, seconds, ...rest }]) =>
    SPARSITIES.map((sparsity): Run => {
      const prune = pruneResult(loss, sparsity, seconds, 'allocation' in rest)
      return {
        ...{ name, sparsity, prune },
        ...{
          perplexity: perplexity(loss, sparsity),
          divergence: divergence(loss, sparsity),
          tasks: tasks(loss, sparsity),
        },
        ...{ samples: samples(loss, sparsity), tokensPerSecond: 310 / (1 - sparsity / 1.8) },
        wordPerplexity: { ...WORDS, wordPerplexity: 30 * Math.exp(loss * sparsity) },
        seconds: { ...prune.seconds, evaluate: 60 * (1 - sparsity / 2), tasks: 180 * (1 - sparsity / 2) },
        peakMemoryBytes: 1.1e9 + seconds * 1e6,
      }
    }),
  )
  const model = {
    name: 'SmolLM2-135M-Instruct',
    modelType: 'llama',
    layers: LAYERS,
    parameters: 134_515_008,
    decoderLinears: 106_168_320,
  }
  return resultFile({ command: 'compare', machine: MACHINE, model, runs: [dense, ...pruned, FAILED] })
}
