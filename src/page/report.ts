// The report of a run as `fasp prune --report` makes it.
import { continuationBytes, continuations, type Engine, type Model, type PruneResult, prefillSpeeds } from '../index.ts'
import { type Machine, modelFacts, resultFile } from '../report/result-file.ts'
import { runsOf } from '../report/runs-of.ts'
import { passOn } from './facts.ts'
import type { Answer, Told } from './protocol.ts'

export interface Reported {
  readonly dense: Model
  readonly pruned: Model
  readonly result: PruneResult
  /** Notices that the user was given meanwhile. */
  readonly told: readonly string[]
}

/** @param mostBytes a model that takes more to write text writes none */
export async function reportOf(
  { dense, pruned, result, told }: Reported,
  { engine, signal }: { readonly engine: Engine; readonly signal: AbortSignal },
  { machine, mostBytes, tell }: { machine: Machine; mostBytes: number; tell: (told: Told) => void },
): Promise<Answer<'report'>> {
  const written = async (model: Model) =>
    continuationBytes(model) < mostBytes ? continuations(model, { engine, signal, onEvent: passOn(tell) }) : undefined
  const samples = { dense: await written(dense), pruned: await written(pruned) }
  const speeds = await prefillSpeeds([dense, pruned], engine, signal)
  const runs = runsOf(result, { samples, speeds, told, perplexities: {} })
  const model = modelFacts(dense.checkpoint.name, dense.architecture)
  const { reportHtml } = await import('../report/html.ts')
  const html = await reportHtml(resultFile({ command: 'prune', machine, model, runs: [runs.dense, runs.pruned] }))
  return { name: `${model.name.replace(/\.gguf$/i, '')}-pruned.html`, html }
}
