// Step 4: the result to a repository of the Hub. The Hub is asked where the user presses the button; a token is forgotten with the step.
import { useRef, useState } from 'preact/hooks'
import { bytes } from '../src/base/display.ts'
import type { PushAsk, Pushed } from '../src/page/protocol.ts'
import type { Call } from './client.ts'
import { TokenField } from './fetching.tsx'
import { LOCAL } from './local.tsx'
import { Doing, useProgress } from './progress.tsx'
import { Notices, useTask } from './ui.tsx'

interface Props {
  readonly call: Call
  /** Of what was made. */
  readonly name: string
  /** Types that are chosen for what may go beside the folder; none over `fasp ui`. */
  readonly types?: Readonly<Record<'gguf' | 'onnx', string>>
}

const BESIDE = { gguf: 'GGUF', onnx: 'ONNX' } as const
type Beside = keyof typeof BESIDE

export function PushToHub({ call, name, types }: Props) {
  const { run, busy, problem } = useTask()
  const { progress, begin, onTold } = useProgress()
  const [ask, setAsk] = useState<PushAsk>({ id: '', private: false, overwrite: false, token: '' })
  const [beside, setBeside] = useState<readonly Beside[]>([])
  const [pushed, setPushed] = useState<Pushed>()
  const stop = useRef<AbortController | undefined>(undefined)
  const local = LOCAL
  const push = () =>
    run(async () => {
      stop.current = new AbortController()
      setPushed(undefined)
      begin()
      const exports = types && beside.map(to => ({ to, dtype: types[to] || undefined }))
      setPushed(await call('push', { ...ask, beside: exports }, { onTold, signal: stop.current.signal }))
    })
  return (
    <form
      class="push"
      onSubmit={event => {
        event.preventDefault()
        if (!busy) void push()
      }}
    >
      <h3>To the Hugging Face Hub</h3>
      <p class="hint">
        The folder, as one commit. A repository that is missing is made; files there that fasp did not write stay as
        they are.
      </p>
      <label for="repository">Repository (org/name)</label>
      <input
        id="repository"
        value={ask.id}
        placeholder={`my-name/${name}`}
        spellcheck={false}
        autocapitalize="off"
        autocomplete="off"
        onInput={({ currentTarget }) => setAsk({ ...ask, id: currentTarget.value })}
      />
      <label for="writing-token">Token of the Hub</label>
      <TokenField id="writing-token" value={ask.token ?? ''} onInput={token => setAsk({ ...ask, token })}>
        It needs the right to write, goes to the Hub alone, and is kept nowhere: leave this step and it is forgotten.
        {local && ' Without one, that of “hf auth login” or HF_TOKEN on this machine is used.'}
      </TokenField>
      <div class="checks">
        {types &&
          (Object.entries(BESIDE) as [Beside, string][]).map(([to, format]) => (
            <label key={to}>
              <input
                type="checkbox"
                checked={beside.includes(to)}
                onChange={({ currentTarget: { checked } }) =>
                  setBeside([...beside.filter(one => one !== to), ...(checked ? [to] : [])])
                }
              />{' '}
              With {format}, in the type above
            </label>
          ))}
        <label>
          <input
            type="checkbox"
            checked={ask.private}
            onChange={({ currentTarget }) => setAsk({ ...ask, private: currentTarget.checked })}
          />{' '}
          Private, if it is made
        </label>
        <label>
          <input
            type="checkbox"
            checked={ask.overwrite}
            onChange={({ currentTarget }) => setAsk({ ...ask, overwrite: currentTarget.checked })}
          />{' '}
          Files there that fasp did not write may be replaced
        </label>
      </div>
      <div class="buttons">
        <button type="submit" disabled={busy || ask.id.trim() === ''}>
          Push to the Hub
        </button>
        {busy && (
          <button type="button" onClick={() => stop.current?.abort()}>
            Cancel
          </button>
        )}
      </div>
      <Doing busy={busy} progress={progress} problem={problem} />
      <Notices notices={progress.notices} />
      <p class="status" role="status">
        {pushed && (
          <>
            {pushed.files} files, {bytes(pushed.bytes)}, are in the Hub: <PageOf url={pushed.url} />
          </>
        )}
      </p>
    </form>
  )
}

/** In a tab of its own: what this one has made is gone when it leaves. What the Hub has sent may be no address. */
const PageOf = ({ url }: { url: string }) =>
  /^https?:\/\//.test(url) ? (
    <a href={url} target="_blank" rel="noreferrer">
      {url}
    </a>
  ) : null
