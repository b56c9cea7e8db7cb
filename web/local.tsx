// The parts of the page that `fasp ui` has in the place of others: paths of this machine instead of files, and jobs that were stopped.
import { createContext } from 'preact'
import { useContext, useState } from 'preact/hooks'
import { percent } from '../src/display.ts'
import type { Settings, StoppedOrder } from '../src/ui/protocol.ts'

const Local = createContext(false)
/** Says to all below it whether `fasp ui` computes. */
export const LocalProvider = Local.Provider
export const useLocal = () => useContext(Local)

interface PathProps {
  readonly busy: boolean
  /** Nothing is open yet. */
  readonly first: boolean
  readonly open: (path: string) => void
}

/** Step 1: the model, by its path. */
export function PathForm({ busy, first, open }: PathProps) {
  const [path, setPath] = useState('')
  return (
    <form
      class="ask"
      onSubmit={event => {
        event.preventDefault()
        open(path)
      }}
    >
      <label for="path">Path of a folder, or of a .gguf file, on this machine</label>
      <input
        id="path"
        value={path}
        placeholder="~/models/my-model"
        spellcheck={false}
        autocapitalize="off"
        autocomplete="off"
        onInput={({ currentTarget }) => setPath(currentTarget.value)}
      />
      <button type="submit" class={first ? 'primary' : ''} disabled={busy || path.trim() === ''}>
        Open
      </button>
    </form>
  )
}

interface StoppedProps {
  readonly stopped: readonly StoppedOrder[]
  readonly busy: boolean
  readonly resume: (id: string) => void
  readonly discard: (id: string) => void
}

/** Step 1: what a crash, Ctrl-C or Cancel has left to go on with. */
export function StoppedJobs({ stopped, busy, resume, discard }: StoppedProps) {
  if (stopped.length === 0) return null
  return (
    <section class="stopped" aria-labelledby="stopped">
      <h2 id="stopped">Stopped before its end</h2>
      <p class="hint">
        What was done is kept beside the output. Going on gives the same bytes as a run that was never stopped.
      </p>
      <ul>
        {stopped.map(({ id, ...order }) => (
          <li key={id}>
            <p>
              <b>{nameOf(order.model)}</b>, {amountOf(order.settings)}
              <small>into {order.output}</small>
            </p>
            <div class="buttons">
              <button type="button" class="primary" disabled={busy} onClick={() => resume(id)}>
                Go on
              </button>
              <button type="button" disabled={busy} onClick={() => discard(id)}>
                Discard
              </button>
            </div>
          </li>
        ))}
      </ul>
    </section>
  )
}

export const nameOf = (path: string): string => path.replace(/^.*[/\\]/, '')

const amountOf = ({ sparsity, size, method }: Settings): string =>
  `${size === undefined ? percent(sparsity ?? 0) : `to ${size / 1e6} MB`}${method ? ` by ${method}` : ''}`

interface FieldProps {
  readonly value: string
  readonly onInput: (value: string) => void
}

/** Step 2: where the result goes. @param free the name that it gets by itself */
export const OutputField = ({ value, free, onInput }: FieldProps & { free: string }) => (
  <fieldset class="output">
    <legend>
      <label for="output">Where it goes</label>
    </legend>
    <input
      id="output"
      value={value}
      placeholder={free}
      spellcheck={false}
      autocapitalize="off"
      autocomplete="off"
      aria-describedby="output-what"
      onInput={({ currentTarget }) => onInput(currentTarget.value)}
    />
    <p id="output-what" class="hint">
      A folder, or a file with a name that ends in .gguf. Nothing that is there is replaced.
    </p>
  </fieldset>
)

/** Step 2: texts to repair on, by their paths. */
export const TextPaths = ({ value, onInput }: FieldProps) => (
  <section aria-label="Text of mine" class="texts">
    <label for="text">Text files on this machine (.txt, .jsonl, .parquet), one a line</label>
    <textarea
      id="text"
      rows={3}
      value={value}
      spellcheck={false}
      placeholder="~/texts/wiki.txt"
      onInput={({ currentTarget }) => onInput(currentTarget.value)}
    />
    <p class="hint">Or names of data sets, which are fetched: wikitext2, c4, hf:org/name:split.</p>
  </section>
)

/** Step 4. */
export const Where = ({ output }: { output: string }) => (
  <>
    <div class="command">
      <pre>
        <code>{output}</code>
      </pre>
    </div>
    <p class="hint">
      {/\.gguf$/i.test(output)
        ? 'One file for llama.cpp, Ollama, LM Studio.'
        : 'A Hugging Face folder: weights, config, tokenizer, model card, fasp.json. fasp export makes GGUF and ONNX of it.'}
    </p>
  </>
)
