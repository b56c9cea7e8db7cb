// The worker that opens models and plans, without an engine. It is small: what computes is in another (computing.ts), fetched when it is
// first asked for.
import { inspect } from '../src/evaluate/inspect.ts'
import { planFacts } from '../src/page/facts.ts'
import type { Answer, Ask, Settings, TooLarge } from '../src/page/protocol.ts'
import { distanceFlops, runFlops } from '../src/prune/flops.ts'
import { type PreparedRun, prepare } from '../src/prune/run.ts'
import { type NamedText, writesText } from '../src/text/calibration.ts'
import { diskBytes, heldBytes } from './disk.ts'
import { fetchPart, look, search } from './hub.ts'
import { open, optionsOf, textsOf } from './opened.ts'
import { discardRun, stoppedRuns } from './runs.ts'
import { type JobContext, serve } from './serve.ts'
import { withVocabulary } from './vocabulary.ts'

const cutter = async () => (await import('../src/vocabulary/cut-vocabulary.ts')).cutVocabularyEvents

/** WebAssembly addresses so much. */
const MOST_MEMORY = 4e9

const disk = diskBytes()

async function plan(settings: Ask<'plan'>): Promise<Answer<'plan'>> {
  const { model, notices } = await withVocabulary(settings, cutter)
  const texts = textsOf(settings)
  const run = prepare(model, optionsOf(settings), { texts })
  const { plan, options } = run
  const memoryBytes = await memoryOf(run)
  const { float32, float64 } = runFlops(model.architecture, plan, options, writesText(run.calibration))
  return planFacts(plan, options, {
    ...{ memoryBytes, notices: [...notices, ...run.notices] },
    vocabulary: model.checkpoint.vocabulary?.tokens,
    flops: { float32: float32 + distanceFlops(model.architecture, options), float64 },
    tooLarge: memoryBytes > MOST_MEMORY ? { mostBytes: MOST_MEMORY, fits: await smaller(run, settings) } : undefined,
  })
}

/** What is held lies in memory where the browser gives no disk for it. */
async function memoryOf({ plan }: PreparedRun): Promise<number> {
  const held = heldBytes(plan)
  return plan.memoryBytes + (held < (await disk) ? 0 : held)
}

/** The most windows, by halves, that a page has room for; with text of the user's where the model's own takes too much. */
async function smaller({ model, options, calibration }: PreparedRun, settings: Settings): Promise<TooLarge['fits']> {
  const { texts } = calibration
  for (const given of texts ? [texts] : [undefined, [NO_TEXT]])
    for (let windows = options.windows; windows >= 1; windows = Math.floor(windows / 2)) {
      const memoryBytes = await memoryOf(prepare(model, { ...optionsOf(settings), windows }, { texts: given }))
      if (memoryBytes <= MOST_MEMORY) return { windows, memoryBytes, ownText: given !== undefined && !texts }
    }
  return undefined
}

/** In the place of a text that there might be: plans read none. */
const NO_TEXT: NamedText = { name: 'a text', text: async () => '' }

/** They say where they are from, for runs that are stopped. */
async function fetch(ask: Ask<'fetch'>, context: JobContext): Promise<Answer<'fetch'>> {
  const { id, commit, part } = ask
  return (await fetchPart(ask, context)).map(picked => ({ ...picked, from: { id, commit, part } }))
}

serve({
  ...{ open: async ask => inspect(await open(ask)), plan, search, look, fetch },
  ...{ state: stoppedRuns, discard: discardRun },
})
