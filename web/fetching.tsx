// Step 1: a model of the Hub, which is asked only where the user presses a button. A token is forgotten with the page.
import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import { bytes, count } from '../src/base/display.ts'
import type { Ask } from '../src/page/protocol.ts'
import type { HubModel, HubPart, HubRepo } from '../src/web.ts'
import type { Call } from './client.ts'
import { Doing, useTask } from './progress.tsx'
import { Form, TextField } from './ui.tsx'

interface TokenProps {
  readonly value: string
  readonly onInput: (value: string) => void
  /** Where a label of its own names it. */
  readonly id?: string
  /** Where it goes. */
  readonly children: ComponentChildren
}

export const TokenField = ({ id, value, onInput, children }: TokenProps) => (
  <>
    <input
      id={id}
      type="password"
      aria-label={id ? undefined : 'Token of the Hub'}
      value={value}
      placeholder="hf_…"
      autocomplete="off"
      onInput={({ currentTarget }) => onInput(currentTarget.value)}
    />
    <p class="hint">{children}</p>
  </>
)

interface Props {
  readonly call: Call
  /** Another model is being opened. */
  readonly busy: boolean
  readonly open: (ask: Ask<'open'>) => void
}

const NAME = /^\s*(hf:(\/\/)?)?[\w.-]+\/[\w.-]+(@\S+)?\s*$/

export function FromHub({ call, busy: opening, open }: Props) {
  const [words, setWords] = useState('')
  const [token, setToken] = useState('')
  const [found, setFound] = useState<readonly HubModel[]>()
  const [repo, setRepo] = useState<HubRepo>()
  const task = useTask() // one thing at a time is asked of the Hub
  const { busy, run } = task
  const fetching = busy && task.progress.phases.length > 0

  const look = (id: string) =>
    run(async options => {
      setRepo(undefined)
      setRepo(await call('look', { id, token }, options))
    })
  const search = () =>
    run(async options => {
      setRepo(undefined)
      setFound(undefined)
      setFound(await call('search', { words: words.trim(), token }, options))
    })
  const take = ({ id, commit }: HubRepo, part: HubPart) =>
    run(async options => open(await call('fetch', { id, commit, part, token }, options)))
  const idle = !busy && !opening
  const send = () => {
    if (idle && words.trim()) void (NAME.test(words) ? look(words.trim()) : search())
  }
  return (
    <section class="hub" aria-labelledby="hub">
      <h2 id="hub">From the Hugging Face Hub</h2>
      <p class="hint">The Hub is asked only when you press a button here. It learns what you ask for, and no more.</p>
      <Form name="ask" send={send}>
        <label for="words">Name of a model (org/name), or words to look for</label>
        <TextField id="words" value={words} placeholder="HuggingFaceTB/SmolLM2-135M" onInput={setWords} />
        <button type="submit" disabled={!idle || words.trim() === ''}>
          Search
        </button>
        <details class="token">
          <summary>Token, for gated and private models</summary>
          <TokenField value={token} onInput={setToken}>
            It goes to the Hub alone, and is kept nowhere: leave this step and it is forgotten.
          </TokenField>
        </details>
      </Form>
      <p class="status" role="status">
        {busy && !fetching ? 'The Hub is asked …' : found?.length === 0 ? 'The Hub has no such models.' : ''}
      </p>
      <Doing {...task} />
      {repo ? (
        <>
          <h3>{repo.id}</h3>
          <Rows
            label={`What ${repo.id} has`}
            button="Fetch"
            idle={idle}
            rows={repo.parts.map(part => ({
              name: part.name || 'Hugging Face folder',
              more: bytes(part.bytes),
              label: `Fetch ${part.name || 'the folder'}`,
              press: () => take(repo, part),
            }))}
          />
        </>
      ) : (
        found &&
        found.length > 0 && (
          <Rows
            label="Models found"
            button="Sizes"
            idle={idle}
            rows={found.map(model => ({
              name: model.id,
              more: popularityOf(model),
              label: `Sizes of ${model.id}`,
              press: () => look(model.id),
            }))}
          />
        )
      )}
    </section>
  )
}

const popularityOf = ({ parameters, downloads }: HubModel): string =>
  (parameters === undefined ? 'size unknown' : `${count(parameters)} parameters`) +
  (downloads === undefined ? '' : `, fetched ${count(downloads)} times a month`)

interface RowsProps {
  readonly label: string
  /** On the button of each row, whose own label is read aloud. */
  readonly button: string
  readonly idle: boolean
  readonly rows: readonly { readonly name: string; readonly more: string; readonly label: string; press(): void }[]
}

const Rows = ({ label, button, idle, rows }: RowsProps) => (
  <ul class="rows" aria-label={label}>
    {rows.map(({ name, more, label, press }) => (
      <li key={name}>
        <span>
          <b>{name}</b>
          <small>{more}</small>
        </span>
        <button type="button" disabled={!idle} aria-label={label} onClick={press}>
          {button}
        </button>
      </li>
    ))}
  </ul>
)
