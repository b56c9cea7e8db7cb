// What a call has told since it began, of which steps show what they are at.
import { useRef, useState } from 'preact/hooks'
import { duration } from '../src/base/display.ts'
import type { HalfError, OwnText, Told } from '../src/page/protocol.ts'
import type { Phase } from '../src/web.ts'
import { CallError, type CallOptions } from './client.ts'
import { Problem, problemOf } from './ui.tsx'

interface PhaseProgress {
  readonly phase: Phase
  readonly total: number
  readonly done: number
  readonly unit: string
  /** What was done when it began, by an earlier run, or before this page looked. */
  readonly before: number
  readonly began: number
  readonly now: number
}

export interface Progress {
  readonly engine?: string
  readonly job?: { readonly model: string; readonly output: string }
  readonly phases: readonly PhaseProgress[]
  readonly errors: readonly HalfError[]
  readonly ownText?: OwnText
  /** What the model so far has written last. */
  readonly soFar?: Extract<Told, { type: 'so far' }>
  readonly notices: readonly string[]
}

const NOTHING_TOLD: Progress = { phases: [], errors: [], notices: [] }

export const NAMES: Partial<Record<Phase, string>> = {
  download: 'The model is fetched',
  'calibration text': 'The model writes text',
  'read text': 'Text is read',
  allocate: 'What each layer is worth',
  prune: 'Layers are cut and repaired',
  write: 'The result is written',
  export: 'The file is written',
  upload: 'Files go to the Hub',
  verify: 'The file is read back',
  'evaluate dense': 'The model as it was',
  evaluate: 'The pruned model',
  continuations: 'Both models write',
}

/** What is done sooner than this was done before, as on the command line. */
const AT_ONCE_MS = 20

/** @param now in milliseconds */
function told(before: Progress, event: Told, now: number): Progress {
  switch (event.type) {
    case 'engine':
      return { ...before, engine: event.name }
    case 'job':
      return { ...before, job: event }
    case 'notice':
      return { ...before, notices: [...before.notices.filter(one => one !== event.message), event.message] }
    case 'errors':
      return { ...before, errors: event.errors }
    case 'phase': {
      const { phase, total, unit } = event
      const others = before.phases.filter(one => one.phase !== phase).map(one => ({ ...one, done: one.total }))
      return { ...before, phases: [...others, { phase, total, unit, done: 0, before: 0, began: now, now }] }
    }
    case 'so far':
      return { ...before, soFar: event }
    case 'own text':
      return { ...before, ownText: event.text }
    case 'progress': {
      const last = before.phases.at(-1)
      if (!last) return before
      const next = { ...last, done: event.done, now, before: now - last.began < AT_ONCE_MS ? event.done : last.before }
      return { ...before, phases: [...before.phases.slice(0, -1), next] }
    }
    default:
      return before
  }
}

/** Work of a step: what it is at, and what went wrong. Work that begins ends what is shown of the work before. */
export function useTask() {
  const [progress, setProgress] = useState(NOTHING_TOLD)
  const [problem, setProblem] = useState<string>()
  const [busy, setBusy] = useState(false)
  const stop = useRef<AbortController | undefined>(undefined)
  const onTold = (event: Told) => setProgress(before => told(before, event, performance.now()))
  /** @param work is given what its call takes */
  async function run(work: (options: Required<CallOptions>) => Promise<void>): Promise<void> {
    stop.current = new AbortController()
    setProgress(NOTHING_TOLD)
    setProblem(undefined)
    setBusy(true)
    try {
      await work({ onTold, signal: stop.current.signal })
    } catch (error) {
      if (!(error instanceof CallError && error.stopped)) setProblem(problemOf(error))
    } finally {
      setBusy(false)
    }
  }
  return { run, busy, problem, progress, cancel: () => stop.current?.abort(), forget: () => setProblem(undefined) }
}

/** Sooner than this there is nothing to reckon with. */
const KNOWN_MS = 1000

function secondsLeft({ done, total, before, began, now }: PhaseProgress): number | undefined {
  if (done <= before || now - began < KNOWN_MS) return undefined
  return ((now - began) / (done - before)) * (total - done) * 1e-3
}

export const PhaseBar = ({ progress }: { progress: PhaseProgress }) => {
  const { phase, done, total, unit } = progress
  const name = NAMES[phase] ?? phase
  const left = secondsLeft(progress)
  const over = done >= total
  return (
    <li class={over ? 'over' : ''}>
      <span class="name">{name}</span>
      <span class="count">
        {over ? 'done' : `${Math.floor(done)} of ${total} ${unit}`}
        {!over && left !== undefined && `, about ${duration(left)} left`}
      </span>
      <progress max={1} value={total > 0 ? Math.min(1, done / total) : 1} aria-label={name} />
    </li>
  )
}

type DoingProps = Pick<ReturnType<typeof useTask>, 'busy' | 'progress' | 'problem'> & { readonly cancel?: () => void }

/** What a task is at, and what went wrong. */
export function Doing({ busy, progress: { phases }, problem, cancel }: DoingProps) {
  const last = busy && phases.at(-1)
  return (
    <>
      {last && (
        <ol class="phases">
          <PhaseBar progress={last} />
        </ol>
      )}
      {problem && <Problem message={problem} />}
      {last && cancel && (
        <div class="buttons">
          <button type="button" onClick={cancel}>
            Cancel
          </button>
        </div>
      )}
    </>
  )
}
