// Step 1: a model of the Hub. The Hub is asked where the user presses a button, and never else; a token is forgotten with the page.
import type { ComponentChildren } from 'preact'
import { useRef, useState } from 'preact/hooks'
import { bytes, count } from '../src/base/display.ts'
import type { Ask, HubModel, HubPart, HubRepo } from '../src/page/protocol.ts'
import type { Call } from './client.ts'
import { Doing, useProgress } from './progress.tsx'
import { useTask } from './ui.tsx'

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
  const { run, busy, problem } = useTask()
  const { progress, begin, onTold } = useProgress()
  const stop = useRef<AbortController | undefined>(undefined)
  const [fetching, setFetching] = useState(false)

  /** One thing at a time is asked of the Hub. */
  const ask = (task: (signal: AbortSignal) => Promise<void>) => {
    stop.current = new AbortController()
    const { signal } = stop.current
    begin()
    return run(() => task(signal))
  }
  const look = (id: string) =>
    ask(async signal => {
      setRepo(undefined)
      setRepo(await call('look', { id, token }, { signal }))
    })
  const search = () =>
    ask(async signal => {
      setRepo(undefined)
      setFound(undefined)
      setFound(await call('search', { words: words.trim(), token }, { signal }))
    })
  const take = ({ id, commit }: HubRepo, part: HubPart) =>
    ask(async signal => {
      setFetching(true)
      try {
        open(await call('fetch', { id, commit, part, token }, { signal, onTold }))
      } finally {
        setFetching(false)
      }
    })
  const idle = !busy && !opening
  return (
    <section class="hub" aria-labelledby="hub">
      <h2 id="hub">From the Hugging Face Hub</h2>
      <p class="hint">The Hub is asked only when you press a button here. It learns what you ask for, and no more.</p>
      <form
        class="ask"
        onSubmit={event => {
          event.preventDefault()
          if (idle && words.trim()) void (NAME.test(words) ? look(words.trim()) : search())
        }}
      >
        <label for="words">Name of a model (org/name), or words to look for</label>
        <input
          id="words"
          value={words}
          placeholder="HuggingFaceTB/SmolLM2-135M"
          spellcheck={false}
          autocapitalize="off"
          autocomplete="off"
          onInput={({ currentTarget }) => setWords(currentTarget.value)}
        />
        <button type="submit" disabled={!idle || words.trim() === ''}>
          Search
        </button>
        <details class="token">
          <summary>Token, for gated and private models</summary>
          <TokenField value={token} onInput={setToken}>
            It goes to the Hub alone, and is kept nowhere: leave this step and it is forgotten.
          </TokenField>
        </details>
      </form>
      <p class="status" role="status">
        {busy && !fetching ? 'The Hub is asked …' : found?.length === 0 ? 'The Hub has no such models.' : ''}
      </p>
      <Doing busy={fetching} progress={progress} problem={problem} />
      {fetching && (
        <div class="buttons">
          <button type="button" onClick={() => stop.current?.abort()}>
            Cancel
          </button>
        </div>
      )}
      {repo ? (
        <>
          <h3>{repo.id}</h3>
          <ul class="rows" aria-label={`What ${repo.id} has`}>
            {repo.parts.map(part => (
              <li key={part.name}>
                <span>
                  <b>{part.name || 'Hugging Face folder'}</b>
                  <small>{bytes(part.bytes)}</small>
                </span>
                <button
                  type="button"
                  disabled={!idle}
                  aria-label={`Fetch ${part.name || 'the folder'}`}
                  onClick={() => take(repo, part)}
                >
                  Fetch
                </button>
              </li>
            ))}
          </ul>
        </>
      ) : (
        found &&
        found.length > 0 && (
          <ul class="rows" aria-label="Models found">
            {found.map(({ id, parameters, downloads }) => (
              <li key={id}>
                <span>
                  <b>{id}</b>
                  <small>
                    {parameters === undefined ? 'size unknown' : `${count(parameters)} parameters`}
                    {downloads !== undefined && `, fetched ${count(downloads)} times a month`}
                  </small>
                </span>
                <button type="button" disabled={!idle} aria-label={`Sizes of ${id}`} onClick={() => look(id)}>
                  Sizes
                </button>
              </li>
            ))}
          </ul>
        )
      )}
    </section>
  )
}
