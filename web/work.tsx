// Step 3: how far it is, and what each layer lost, before and after its repair.
import { useState } from 'preact/hooks'
import { duration, percent } from '../src/display.ts'
import type { HalfError, OwnText, Told } from '../src/ui/protocol.ts'
import type { Phase } from '../src/web.ts'
import { nameOf, useLocal } from './local.tsx'
import { Bar, Notices, Problem } from './ui.tsx'

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

interface Progress {
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

const NAMES: Partial<Record<Phase, string>> = {
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

/** What a call has told since it began. */
export function useProgress() {
  const [progress, setProgress] = useState(NOTHING_TOLD)
  return {
    progress,
    begin: () => setProgress(NOTHING_TOLD),
    onTold: (event: Told) => setProgress(before => told(before, event, performance.now())),
  }
}

/** Sooner than this there is nothing to reckon with. */
const KNOWN_MS = 1000

function secondsLeft({ done, total, before, began, now }: PhaseProgress): number | undefined {
  if (done <= before || now - began < KNOWN_MS) return undefined
  return ((now - began) / (done - before)) * (total - done) * 1e-3
}

const PhaseBar = ({ progress }: { progress: PhaseProgress }) => {
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
      <Bar done={total > 0 ? Math.min(1, done / total) : 1} label={name} />
    </li>
  )
}

interface DoingProps {
  readonly busy: boolean
  readonly progress: Progress
  readonly problem: string | undefined
}

/** What a task of a step is at, and what went wrong. */
export function Doing({ busy, progress: { phases }, problem }: DoingProps) {
  const last = phases.at(-1)
  return (
    <>
      {busy && last && (
        <ol class="phases">
          <PhaseBar progress={last} />
        </ol>
      )}
      {problem && <Problem message={problem} />}
    </>
  )
}

export function WorkStep({ progress, cancel }: { progress: Progress; cancel: () => void }) {
  const { phases, errors, engine, job, notices, ownText, soFar } = progress
  const current = phases.at(-1)
  const local = useLocal()
  return (
    <>
      <p class="lead" role="status">
        {current
          ? `${NAMES[current.phase] ?? current.phase} …`
          : engine || local
            ? 'Getting ready …'
            : 'The engine is fetched …'}
      </p>
      {job && (
        <p class="path">
          <b>{nameOf(job.model)}</b> into {job.output}
        </p>
      )}
      {engine && (
        <p class="hint">
          {local
            ? `Computed by fasp ui on this machine, with ${engine}. This page may be closed, and finds the work again.`
            : `Computed here, with ${engine}. The page may lie in the background, and must stay open.`}
        </p>
      )}
      <ol class="phases">
        {phases.map(one => (
          <PhaseBar key={one.phase} progress={one} />
        ))}
      </ol>
      {soFar && <SoFar {...soFar} />}
      {errors.length > 0 && <Errors errors={errors} />}
      {ownText && <OwnTextFold text={ownText} />}
      <Notices notices={notices} />
      <div class="buttons end">
        <button type="button" onClick={cancel}>
          Cancel
        </button>
      </div>
    </>
  )
}

/** How the model goes on with a text while only its first layers are pruned. */
const SoFar = ({ layers, prompt, text }: Extract<Told, { type: 'so far' }>) => (
  <section class="so-far" aria-labelledby="so-far">
    <h2 id="so-far">
      What it writes with {layers} {layers === 1 ? 'layer' : 'layers'} pruned
    </h2>
    <blockquote>
      <b>{prompt}</b>
      {text}
    </blockquote>
  </section>
)

/** The first of what the model wrote to be repaired on. */
export const OwnTextFold = ({ text: { first, windows, seqLen } }: { text: OwnText }) => (
  <details>
    <summary>What the model wrote to be repaired on</summary>
    <p class="hint">
      The first {first.length} of {windows} texts, each of {seqLen} tokens.
    </p>
    {first.map((text, i) => (
      <blockquote key={i}>{text}</blockquote>
    ))}
  </details>
)

const HALVES = { attention: 'attention', ffn: 'FFN' } as const

/** What each half-block that was cut lost of its output: a bar without repair, and one with it. */
export function Errors({ errors }: { errors: readonly HalfError[] }) {
  const largest = Math.max(...errors.map(({ before, after }) => Math.max(before, after)))
  const both = new Set(errors.map(({ half }) => half)).size > 1
  const width = (error: number) => ({ width: `${Math.max(0.5, (100 * error) / largest)}%` })
  return (
    <section class="errors" aria-labelledby="errors">
      <h2 id="errors">What each layer loses</h2>
      <p class="hint">Squared error of its output, as part of the output: as it is cut, and after the repair.</p>
      <table>
        <thead>
          <tr>
            <th scope="col">layer</th>
            <th scope="col">kept</th>
            <th scope="col" class="bars">
              <span class="key cut" /> cut <span class="key repaired" /> repaired
            </th>
            <th scope="col">cut</th>
            <th scope="col">repaired</th>
          </tr>
        </thead>
        <tbody>
          {errors.map(({ layer, half, kept, of, before, after }) => (
            <tr key={`${layer} ${half}`}>
              <th scope="row">
                {layer}
                {both && ` ${HALVES[half]}`}
              </th>
              <td>
                {kept} of {of}
              </td>
              <td class="bars" aria-hidden="true">
                <div class="bar cut" style={width(before)} />
                <div class="bar repaired" style={width(after)} />
              </td>
              <td>{percent(before)}</td>
              <td>{percent(after)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}
