// Small parts that several steps share.
import type { AllHTMLAttributes, ComponentChildren } from 'preact'
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

export const Section = ({ title, children }: { title: string; children: ComponentChildren }) => (
  <section>
    <h2>{title}</h2>
    {children}
  </section>
)

/** A form whose page stays when it is sent. */
export const Form = ({ name, send, children }: { name?: string; send: () => void; children: ComponentChildren }) => (
  <form
    class={name}
    onSubmit={event => {
      event.preventDefault()
      send()
    }}
  >
    {children}
  </form>
)

type Attributes = 'id' | 'inputMode' | 'placeholder' | 'aria-describedby'

interface FieldProps extends Pick<AllHTMLAttributes<HTMLInputElement>, Attributes> {
  readonly value: string
  readonly onInput: (value: string) => void
}

/** A line that the user types, as a number or a name: browsers neither correct nor complete it. */
export const TextField = ({ onInput, ...others }: FieldProps) => (
  <input
    {...others}
    spellcheck={false}
    autocapitalize="off"
    autocomplete="off"
    onInput={({ currentTarget }) => onInput(currentTarget.value)}
  />
)

interface ChoiceProps {
  readonly type?: 'radio' | 'checkbox'
  readonly name?: string
  readonly title: string
  readonly hint: string
  readonly checked: boolean
  readonly disabled?: boolean
  readonly choose: (checked: boolean) => void
}

/** A radio button, or a box to check, with what it means. */
export const Choice = ({ type = 'radio', title, hint, choose, ...others }: ChoiceProps) => (
  <label class="choice">
    <input type={type} {...others} onChange={({ currentTarget }) => choose(currentTarget.checked)} />
    <span>
      <b>{title}</b>
      <small>{hint}</small>
    </span>
  </label>
)

interface PercentProps {
  readonly id: string
  readonly label: string
  readonly most: number
  readonly value: number
  /** What the percentage is of. */
  readonly of: string
  readonly onInput: (value: number) => void
  /** Whether the hint is read aloud when it changes. */
  readonly live?: boolean
  readonly children: ComponentChildren
}

/** A slider from 1 % on, with a hint beside it. */
export const Percent = ({ id, label, most, value, of, onInput, live, children }: PercentProps) => (
  <div class="amount">
    <label for={id}>{label}</label>
    <output for={id}>{value} %</output>
    <input
      id={id}
      type="range"
      min={1}
      max={most}
      value={value}
      aria-valuetext={`${value} % of ${of}`}
      aria-describedby={`${id}-hint`}
      style={{ '--at': `${(100 * (value - 1)) / (most - 1)}%` }}
      onInput={({ currentTarget }) => onInput(Number(currentTarget.value))}
    />
    <span id={`${id}-hint`} class="hint" aria-live={live ? 'polite' : undefined}>
      {children}
    </span>
  </div>
)

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
