// The parts of the page that `fasp ui` has in the place of others: paths of this machine instead of files.
import { useState } from 'preact/hooks'
import { Form, TextField } from './ui.tsx'

/** Set where the page is built. */
declare const FASP_LOCAL: boolean
/** Whether `fasp ui` computes; what is not for this page goes from it. */
export const LOCAL = FASP_LOCAL

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
    <Form name="ask" send={() => open(path)}>
      <label for="path">Path of a folder, or of a .gguf file, on this machine</label>
      <TextField id="path" value={path} placeholder="~/models/my-model" onInput={setPath} />
      <button type="submit" class={first ? 'primary' : ''} disabled={busy || path.trim() === ''}>
        Open
      </button>
    </Form>
  )
}

export const nameOf = (path: string): string => path.replace(/^.*[/\\]/, '')

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
    <TextField id="output" value={value} placeholder={free} aria-describedby="output-what" onInput={onInput} />
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
        : 'A Hugging Face folder: weights, config, tokenizer, model card, fasp.json. ' +
          'fasp export makes GGUF and ONNX of it.'}
    </p>
  </>
)
