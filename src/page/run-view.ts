// A run that a page looks at: what the model wrote for it, and in the end the distance of the result on held-out text.
import { FaspError } from '../base/errors.ts'
import type { ProgressEvent } from '../base/events.ts'
import {
  distance,
  type Engine,
  loadTokenizer,
  type Model,
  type PruneResult,
  type Scratch,
  type Writing,
  writeSoFar,
} from '../index.ts'
import { passOn, passOnErrors, prunedFacts } from './facts.ts'
import type { OwnText, PrunedFacts, Told } from './protocol.ts'

type RunWindows = Extract<ProgressEvent, { readonly type: 'windows' }>

/** Of text that a model wrote itself so many windows are shown. */
const SHOWN = 4

const ownTextOf = ({ checkpoint }: Model, { windows, heldOut = [], seqLen }: RunWindows): OwnText => {
  const tokenizer = loadTokenizer(checkpoint)
  const first = windows.slice(0, SHOWN).map(ids => tokenizer.decode(ids))
  return { first, windows: windows.length + heldOut.length, seqLen }
}

/** What the result is measured with. */
export interface Measuring {
  readonly engine: Engine
  readonly openRows: () => Promise<Scratch>
  readonly signal: AbortSignal
}

/** @param dense what is pruned @param own whether it writes its own text @param writing for what it writes meanwhile */
export function watchRun(dense: Model, own: boolean, writing: Writing, tell: (told: Told) => void) {
  const onLayer = writeSoFar(dense, writing, soFar => tell({ type: 'so far', ...soFar }))
  const onErrors = passOnErrors(dense.architecture, tell)
  const notices: string[] = []
  let used: RunWindows | undefined
  let ownText: OwnText | undefined
  return {
    notices,
    async onEvent(event: ProgressEvent) {
      if (event.type === 'notice') notices.push(event.message)
      if (event.type !== 'windows') {
        onErrors(event)
        return await onLayer(event)
      }
      used = event
      if (!own) return
      ownText = ownTextOf(dense, event)
      tell({ type: 'own text', text: ownText })
    },
    /** What there is to show of `result`, which made `pruned`: without the distance where that is stopped or fails. */
    async facts(result: PruneResult, pruned: Model, { engine, openRows, signal }: Measuring): Promise<PrunedFacts> {
      const facts = { ...prunedFacts(dense.architecture, result), ownText }
      const { heldOut: windows = [], seqLen } = used!
      if (!facts.heldOut || windows.length === 0) return facts
      const [n, name] = [windows.length, 'held-out text']
      const texts = [{ name, tokens: n * seqLen, available: n, used: n }]
      try {
        const on = { dense, openRows, engine, signal, onEvent: passOn(tell) }
        const { kl, topAgreement } = await distance(pruned, { seqLen, windows, texts }, on)
        return { ...facts, heldOut: { ...facts.heldOut, distance: { kl, topAgreement } } }
      } catch (error) {
        if (signal.aborted) return facts
        if (!(error instanceof FaspError)) throw error
        return { ...facts, notices: [...facts.notices, `The distance is not measured: ${error.message}`] }
      }
    },
  }
}
