// fasp prune: options → library → tables.

import { PRECISIONS } from '../engine/engine.ts'
import { UsageError } from '../errors.ts'
import type { FloatDType } from '../formats/dtype.ts'
import {
  checkTexts,
  describeMachine,
  evaluate,
  METHOD_NAMES,
  type Model,
  type PerplexityResult,
  type Phase,
  type PrunePathOptions,
  planPrune,
  prepare,
} from '../node.ts'
import { type Run, resultFile, runName } from '../report/result-file.ts'
import {
  errorsTable,
  exportsTable,
  layerLines,
  lossTable,
  perplexityTable,
  planText,
  secondsLine,
  sizesTable,
} from '../report/terminal.ts'
import type { Parsed } from './arguments.ts'
import { defineCommand } from './command.ts'
import {
  engineOptions,
  exportRequest,
  modelArgument,
  PRUNING_OPTIONS,
  peakMemory,
  terminalStyle,
} from './environment.ts'
import { showProgress } from './progress.ts'
import { checkReports, describeForReport, REPORT_OPTIONS, wantsReport, writeReports } from './reports.ts'

/** Options that make a method; `fasp compare` takes them, too. */
export const METHOD_OPTIONS = {
  scope: { type: 'text', choices: ['ffn', 'ffn+vo', 'ffn+heads'], help: 'what to cut (default ffn)' },
  vo: {
    type: 'text',
    choices: ['ragged', 'per-head', 'rotate'],
    help: 'value channels: any, per head, or rotated',
  },
  layout: {
    type: 'text',
    choices: ['stock', 'padded', 'compact'],
    help: 'narrow FFNs (default), zeros, or all narrow',
  },
  allocate: {
    type: 'text',
    choices: ['uniform', 'sensitivity'],
    help: 'one width for all layers (default), or measured',
  },
  'probe-tokens': { type: 'integer', help: 'probe of sensitivity and sleb in tokens (1024)' },
  score: {
    type: 'text',
    choices: ['column', 'eliminate'],
    help: 'columns to go: all at once, or in rounds',
  },
  target: { type: 'text', choices: ['pruned', 'dense'], help: 'restore towards this stream (default pruned)' },
  alpha: { type: 'number', help: 'how far towards the dense stream (default 0.5)' },
  inputs: { type: 'text', choices: ['kept', 'aligned'], help: 'turn input layers to it as well (default kept)' },
  products: { type: 'text', choices: PRECISIONS, help: 'of calibration (default float32)' },
  multiple: { type: 'integer', help: 'round FFN widths to it (up to 256, padded 1)' },
  damp: { type: 'number', help: 'damping of the least squares (default 0.01)' },
  center: { type: 'flag', help: 'centre activations and repair biases (OPT)' },
  'no-restore': { type: 'flag', help: 'leave the kept weights as they are' },
  dtype: {
    type: 'text',
    choices: ['f32', 'f16', 'bf16'],
    help: 'type of the weights (default: as the source)',
  },
} as const

const OPTIONS = {
  sparsity: { type: 'number', short: 's', help: 'part of the decoder linears to remove, 0 to 0.9' },
  output: { type: 'text', short: 'o', value: 'path', help: 'where the result goes: a folder, or a .gguf file' },
  to: { type: 'text', many: true, value: 'target', help: 'export as well: gguf, gguf:q8_0, …; repeatable' },
  overwrite: { type: 'flag', help: 'replace what fasp wrote before' },
  calibration: {
    type: 'text',
    many: true,
    value: 'file',
    help: 'text to calibrate on; repeatable (or self-written)',
  },
  samples: { type: 'integer', help: 'windows (32; best, stock 128; self-written 64)' },
  'seq-len': { type: 'integer', help: 'tokens per window (1024; best, stock 512)' },
  'held-out': { type: 'integer', help: 'windows a text to measure on (2; best, stock 4)' },
  method: {
    type: 'text',
    choices: METHOD_NAMES,
    help: 'what decides and repairs (docs/methods.md)',
  },
  preset: {
    type: 'text',
    choices: ['paper', 'best', 'stock'],
    help: 'as published; best; best in stock shapes',
  },
  ...METHOD_OPTIONS,
  eval: { type: 'text', many: true, value: 'file', help: 'text for perplexity, before and after; repeatable' },
  'max-windows': { type: 'integer', help: 'evaluate the first n windows of each text' },
  ...REPORT_OPTIONS,
  seed: { type: 'integer', help: 'seed of self-written text, and of random (0)' },
  ...PRUNING_OPTIONS,
  memory: { type: 'number', value: 'GiB', help: 'memory for activations, then disk (default 1)' },
  'dry-run': { type: 'flag', help: 'show widths, sizes and memory; read no weights' },
  json: { type: 'flag', help: 'print the result as JSON, last line of stdout' },
} as const

export default defineCommand({
  usage: 'prune <folder | model.gguf | hub/id> -s <sparsity> -o <output> [options]',
  summary: 'Removes FFN neurons (and value channels), repairs what stays, writes the result.',
  options: OPTIONS,
  examples: [
    'fasp prune my-model -s 0.2 -o smaller --calibration wiki.txt',
    'fasp prune my-model.gguf -s 0.3 -o smaller --preset paper',
    'fasp prune facebook/opt-125m -s 0.2 -o smaller',
    'fasp prune my-model.gguf -s 0.3 -o smaller.gguf',
  ],
  async run({ options, positionals }, { print, signal }) {
    const model = modelArgument(positionals)
    const settings = { ...pruneOptions(options), signal }
    if (options['dry-run']) {
      const plan = await showProgress(planPrune(model, settings))
      print(planText(plan))
      if (options.json) print(JSON.stringify({ ...plan, tensors: undefined }))
      return
    }
    if (!options.output) throw new UsageError('no output. Say where the pruned model goes: -o <folder>.')
    const { output, eval: text } = options
    const engine = engineOptions(options)
    const seconds: Record<string, number> = {}
    const notices: Record<string, readonly string[]> = {}
    const measure = async (of: string | Model, phase: Phase) => {
      if (!text) return []
      const windows = { seqLen: options['seq-len'], maxWindows: options['max-windows'] }
      const started = performance.now()
      const told: string[] = []
      const results = await showProgress(evaluate(of, { text, ...windows, engine, phase, signal }), told)
      seconds[phase] = (performance.now() - started) / 1000
      notices[phase] = told
      return results.perplexity
    }
    const reports = wantsReport(options)
    const describe = async (of: string | Model) => (reports ? await describeForReport(of, options, signal) : undefined)
    await checkReports(options)
    await checkTexts(text)
    const to = options.to?.map(text => exportRequest(text))
    await using run = await showProgress(prepare(model, { ...settings, output, to }))
    // The dense model is measured first: what is wrong with a text is known before the long part.
    const dense = await measure(run.model, 'evaluate dense')
    const before = await describe(run.model)
    const result = await showProgress(run.prune())
    const perplexity = await measure(output, 'evaluate pruned')
    const after = await describe(output)
    const perplexities: Record<string, readonly PerplexityResult[]> = text ? { dense, pruned: perplexity } : {}
    const peakMemoryBytes = peakMemory()
    const style = terminalStyle(process.stdout)
    print(
      `${errorsTable(result)}\n${style.blocks ? `\n${layerLines(result, style)}\n` : ''}\n${sizesTable(result.sizes)}`,
    )
    const losses = lossTable(result)
    if (losses) print(`\n${losses}`)
    if (text) print(`\n${perplexityTable(perplexities)}`)
    if (result.exports.length > 0) print(`\n${exportsTable(result.exports)}`)
    print(`\n${secondsLine(result.seconds, peakMemoryBytes)}\nWrote ${output}`)
    if (before && after) {
      const { 'evaluate dense': denseSeconds = 0, ...prunedSeconds } = seconds
      const { exports, ...pruned } = result
      const { samples } = after
      const runs: Run[] = [
        {
          ...{ name: 'dense', sparsity: 0, samples: before.samples, tasks: [] },
          ...{ perplexity: dense, seconds: { 'evaluate dense': denseSeconds }, notices: notices['evaluate dense'] },
        },
        {
          ...{ name: runName(result), sparsity: result.options.sparsity, samples, tasks: [] },
          ...{ prune: pruned, perplexity, seconds: { ...result.seconds, ...prunedSeconds }, peakMemoryBytes },
          ...{ notices: notices['evaluate pruned'], exports: exports.length > 0 ? exports : undefined },
        },
      ]
      const machine = describeMachine(engine, options.products)
      const file = resultFile({ command: 'prune', machine, model: before.model, runs })
      for (const path of await writeReports(options, file)) print(`Wrote ${path}`)
    }
    if (options.json) print(JSON.stringify({ ...result, perplexities, peakMemoryBytes }))
  },
})

function pruneOptions(options: Parsed<typeof OPTIONS>): Omit<PrunePathOptions, 'output'> {
  if (options.sparsity === undefined) throw new UsageError('no sparsity. Say how much to remove, for example -s 0.2.')
  return {
    sparsity: options.sparsity,
    overwrite: options.overwrite,
    calibration: options.calibration,
    samples: options.samples,
    seqLen: options['seq-len'],
    heldOut: options['held-out'],
    method: options.method,
    preset: options.preset,
    ...methodOptions(options),
    seed: options.seed,
    engine: engineOptions(options),
    memory: options.memory,
  }
}

/** As the library takes them. */
export const methodOptions = (options: Parsed<typeof METHOD_OPTIONS>) => ({
  scope: options.scope,
  vo: options.vo,
  layout: options.layout,
  allocate: options.allocate,
  probeTokens: options['probe-tokens'],
  score: options.score,
  target: options.target,
  alpha: options.alpha,
  inputs: options.inputs,
  products: options.products,
  multiple: options.multiple,
  damp: options.damp,
  center: options.center,
  restore: options['no-restore'] ? false : undefined,
  dtype: options.dtype?.toUpperCase() as FloatDType | undefined,
})
