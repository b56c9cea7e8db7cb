// `prune` in a page: into a sink.
import type { WebSource } from '../checkpoint/open.web.ts'
import type { ProgressEvent } from '../events.ts'
import type { Scratch } from '../forward/activations.ts'
import type { PruneOptions } from '../options.ts'
import type { PruneResult } from '../result.ts'
import { checkOptions, prepare } from '../run.ts'
import { type NamedText, textsOrWindows } from '../text/calibration.ts'
import type { Windows } from '../text/windows.ts'
import type { Sink } from '../write/sink.ts'
import { checkGiven, type WebOptions, webVerbs } from './platform.web.ts'
import { type Given, type PreparedPrune, preparedPrune, pruneWithCard } from './verbs.ts'

type Progress<T> = AsyncGenerator<ProgressEvent, T>

export interface PruneInPageOptions extends PruneOptions, WebOptions {
  /** Where the files go: a `MemorySink`, or one of your own. */
  readonly output: Sink
  /** Texts, in equal shares, of which a `File` is one; or windows, ready made. @default the model writes its own text */
  readonly calibration?: readonly NamedText[] | Windows
  /** Opens a file for activations beyond `memory`, such as one of the origin-private file system. @default they are in memory */
  readonly openScratch?: () => Promise<Scratch>
}

export async function* prepareEvents(
  source: Given<WebSource>,
  options: PruneInPageOptions,
): Progress<PreparedPrune<PruneResult>> {
  const { output: sink, calibration, engine, fetch, signal, openScratch, ...pruneOptions } = options
  const input = textsOrWindows(calibration)
  checkGiven(engine)
  checkOptions(pruneOptions, input) // before a long download
  const model = yield* webVerbs.openModel(source, { fetch, signal })
  return preparedPrune(model, () => {
    const run = prepare(model, pruneOptions, input)
    return { run, pruneEvents: () => pruneWithCard(run, { engine, sink, signal, openScratch }) }
  })
}

export async function* pruneEvents(source: Given<WebSource>, options: PruneInPageOptions): Progress<PruneResult> {
  await using run = yield* prepareEvents(source, options)
  return yield* run.pruneEvents()
}
