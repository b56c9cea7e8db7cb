// Step 4: the result to a repository of the Hub, where the user presses the button. A token is forgotten with the step.
import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import { bytes } from '../src/base/display.ts'
import type { PushAsk, Pushed } from '../src/page/protocol.ts'
import type { Call } from './client.ts'
import { TokenField } from './fetching.tsx'
import { LOCAL } from './local.tsx'
import { Doing, useTask } from './progress.tsx'
import { Form, Notices, TextField } from './ui.tsx'

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
  const task = useTask()
  const { run, busy, cancel } = task
  const [ask, setAsk] = useState<PushAsk>({ id: '', private: false, overwrite: false, token: '' })
  const [beside, setBeside] = useState<readonly Beside[]>([])
  const [pushed, setPushed] = useState<Pushed>()
  const push = () =>
    run(async options => {
      setPushed(undefined)
      const exports = types && beside.map(to => ({ to, dtype: types[to] || undefined }))
      setPushed(await call('push', { ...ask, beside: exports }, options))
    })
  return (
    <Form name="push" send={() => void (busy || push())}>
      <h3>To the Hugging Face Hub</h3>
      <p class="hint">
        The folder, as one commit. A repository that is missing is made; files there that fasp did not write stay as
        they are.
      </p>
      <label for="repository">Repository (org/name)</label>
      <TextField
        id="repository"
        value={ask.id}
        placeholder={`my-name/${name}`}
        onInput={id => setAsk({ ...ask, id })}
      />
      <label for="writing-token">Token of the Hub</label>
      <TokenField id="writing-token" value={ask.token ?? ''} onInput={token => setAsk({ ...ask, token })}>
        It needs the right to write, goes to the Hub alone, and is kept nowhere: leave this step and it is forgotten.
        {LOCAL && ' Without one, that of “hf auth login” or HF_TOKEN on this machine is used.'}
      </TokenField>
      <div class="checks">
        {types &&
          (Object.entries(BESIDE) as [Beside, string][]).map(([to, format]) => (
            <Check
              key={to}
              checked={beside.includes(to)}
              check={checked => setBeside([...beside.filter(one => one !== to), ...(checked ? [to] : [])])}
            >
              With {format}, in the type above
            </Check>
          ))}
        <Check checked={ask.private} check={checked => setAsk({ ...ask, private: checked })}>
          Private, if it is made
        </Check>
        <Check checked={ask.overwrite} check={overwrite => setAsk({ ...ask, overwrite })}>
          Files there that fasp did not write may be replaced
        </Check>
      </div>
      <div class="buttons">
        <button type="submit" disabled={busy || ask.id.trim() === ''}>
          Push to the Hub
        </button>
        {busy && (
          <button type="button" onClick={cancel}>
            Cancel
          </button>
        )}
      </div>
      <Doing {...task} cancel={undefined} />
      <Notices notices={task.progress.notices} />
      <p class="status" role="status">
        {pushed && (
          <>
            {pushed.files} files, {bytes(pushed.bytes)}, are in the Hub: <PageOf url={pushed.url} />
          </>
        )}
      </p>
    </Form>
  )
}

interface CheckProps {
  readonly checked: boolean
  readonly check: (checked: boolean) => void
  readonly children: ComponentChildren
}

const Check = ({ checked, check, children }: CheckProps) => (
  <label>
    <input type="checkbox" checked={checked} onChange={({ currentTarget }) => check(currentTarget.checked)} />{' '}
    {children}
  </label>
)

/** In a tab of its own: what this one has made is gone when it leaves. What the Hub has sent may be no address. */
const PageOf = ({ url }: { url: string }) =>
  /^https?:\/\//.test(url) ? (
    <a href={url} target="_blank" rel="noreferrer">
      {url}
    </a>
  ) : null
