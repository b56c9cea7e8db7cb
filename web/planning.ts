// The worker that opens models and plans. It is small: another computes (computing.ts), fetched when it is asked.
import { passOn, planFacts } from '../src/page/facts.ts'
import type { Answer, Ask, Settings, TooLarge } from '../src/page/protocol.ts'
import {
  distanceFlops,
  fetchPart,
  inspect,
  lookUpModel,
  type Model,
  type NamedText,
  type Plan,
  planPrune,
  type RemoteFile,
  runFlops,
  searchModels,
} from '../src/web.ts'
import { diskBytes, heldBytes } from './disk.ts'
import { open, optionsOf } from './opened.ts'
import { discardRun, stoppedRuns } from './runs.ts'
import { type JobContext, serve } from './serve.ts'
import { withVocabulary } from './vocabulary.ts'

/** WebAssembly addresses so much. */
const MOST_MEMORY = 4e9

/** Address of the Hub, set where the page is built. */
declare const FASP_HUB: string

const disk = diskBytes()

async function plan(settings: Ask<'plan'>): Promise<Answer<'plan'>> {
  const { model, notices } = await withVocabulary(settings, () => import('./cut-vocabulary.ts'))
  const plan = await planPrune(model, optionsOf(settings))
  const { options } = plan
  const memoryBytes = await memoryOf(plan)
  const { float32, float64 } = runFlops(model.architecture, plan, options, settings.texts === undefined)
  return planFacts(plan, options, {
    ...{ memoryBytes, notices: [...notices, ...plan.notices] },
    vocabulary: model.checkpoint.vocabulary?.tokens,
    flops: { float32: float32 + distanceFlops(model.architecture, options), float64 },
    tooLarge:
      memoryBytes > MOST_MEMORY
        ? { mostBytes: MOST_MEMORY, fits: await smaller(model, settings, options.windows) }
        : undefined,
  })
}

/** What is held lies in memory where the browser gives no disk for it. */
async function memoryOf(plan: Plan): Promise<number> {
  const held = heldBytes(plan)
  return plan.memoryBytes + (held < (await disk) ? 0 : held)
}

/** The most windows, by halves, that a page has room for; of the user's text where the model's own takes too much. */
async function smaller(model: Model, settings: Settings, most: number): Promise<TooLarge['fits']> {
  const options = optionsOf(settings)
  for (const calibration of options.calibration ? [options.calibration] : [undefined, [NO_TEXT]])
    for (let windows = most; windows >= 1; windows = Math.floor(windows / 2)) {
      const memoryBytes = await memoryOf(await planPrune(model, { ...options, windows, calibration }))
      if (memoryBytes <= MOST_MEMORY) return { windows, memoryBytes, ownText: calibration !== options.calibration }
    }
  return undefined
}

/** In the place of a text that there might be: plans read none. */
const NO_TEXT: NamedText = { name: 'a text', text: async () => '' }

/** The Hub is asked where the user asks for something, and no other host than the page's policy names. */
const hub = (token: string | undefined, signal: AbortSignal) => ({
  ...{ endpoint: FASP_HUB, token, signal },
  startChecksum: async (file: RemoteFile) => (await import('./checksum.ts')).startChecksum(file),
})

/** They say where they are from, for runs that are stopped. */
async function fetch({ token, ...from }: Ask<'fetch'>, { tell, signal }: JobContext): Promise<Answer<'fetch'>> {
  const files = await fetchPart(from, { ...hub(token, signal), onEvent: passOn(tell) })
  return files.map(file => ({ path: file.webkitRelativePath || file.name, file, from }))
}

serve({
  ...{ open: async ask => inspect(await open(ask)), plan, fetch },
  search: ({ words, token }, { signal }) => searchModels(words, hub(token, signal)),
  look: ({ id, token }, { signal }) => lookUpModel(id, hub(token, signal)),
  ...{ state: stoppedRuns, discard: discardRun },
})
