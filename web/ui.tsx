// Small parts that several steps share.
import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import { CallError } from './client.ts'

/** What to say of an error. Messages of the library say what to do; others are told as what they are. */
export function problemOf(error: unknown): string {
  if (error instanceof CallError)
    return error.ours ? error.message : `Something went wrong that should not: ${error.message}`
  return error instanceof Error ? error.message : String(error)
}

export const Problem = ({ message }: { message: string }) => (
  <div class="problem" role="alert">
    <p>{message}</p>
  </div>
)

export const Notices = ({ notices }: { notices: readonly string[] }) =>
  notices.length > 0 ? (
    <ul class="notices">
      {notices.map(notice => (
        <li key={notice}>{notice}</li>
      ))}
    </ul>
  ) : null

export interface Figure {
  readonly name: string
  readonly value: string
  readonly more?: string
}

/** The figures that matter, as in reports. */
export const Figures = ({ figures, live = false }: { figures: readonly Figure[]; live?: boolean }) => (
  <dl class="figures" aria-live={live ? 'polite' : undefined}>
    {figures.map(({ name, value, more }) => (
      <div key={name}>
        <dt>{name}</dt>
        <dd>
          {value}
          {more && <small>{more}</small>}
        </dd>
      </div>
    ))}
  </dl>
)

/** A part of a whole, 0 to 1; undefined where it is not known how much is left. */
export const Bar = ({ done, label }: { done: number; label: string }) => (
  <progress max={1} value={done} aria-label={label} />
)

export const Section = ({ title, children }: { title: string; children: ComponentChildren }) => (
  <section>
    <h2>{title}</h2>
    {children}
  </section>
)

/** Runs a task of a step: whether it runs, and what went wrong. */
export function useTask() {
  const [problem, setProblem] = useState<string>()
  const [busy, setBusy] = useState(false)
  async function run(task: () => Promise<void>) {
    setProblem(undefined)
    setBusy(true)
    try {
      await task()
    } catch (error) {
      if (!(error instanceof CallError && error.stopped)) setProblem(problemOf(error))
    } finally {
      setBusy(false)
    }
  }
  return { run, busy, problem }
}

/** What lets a section take what is dropped on it. `over`: something is held above it. */
export function useDrop(take: (data: DataTransfer) => void) {
  const [over, setOver] = useState(false)
  const takes = {
    onDragOver(event: DragEvent) {
      event.preventDefault()
      setOver(true)
    },
    onDragLeave: () => setOver(false),
    onDrop(event: DragEvent) {
      event.preventDefault()
      setOver(false)
      if (event.dataTransfer) take(event.dataTransfer)
    },
  }
  return { over, takes }
}
