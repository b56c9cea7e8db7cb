// Step 1: a model is dropped or chosen; what it is, and what can be cut of it.
import type { ComponentChildren, TargetedEvent } from 'preact'
import { useRef } from 'preact/hooks'
import { bytes, count, percent } from '../src/base/display.ts'
import type { Ask } from '../src/page/protocol.ts'
import type { Inspection } from '../src/web.ts'
import type { Call } from './client.ts'
import { FromHub } from './fetching.tsx'
import { chosen, dropped } from './files.ts'
import { LOCAL, nameOf, PathForm } from './local.tsx'
import { useTask } from './progress.tsx'
import { Figures, Problem, useDrop } from './ui.tsx'

interface Props {
  readonly call: Call
  readonly model: Inspection | undefined
  readonly opened: (model: Inspection) => void
  readonly next: () => void
}

export function ModelStep({ call, model, opened, next }: Props) {
  const { run, busy, problem } = useTask()
  const open = (ask: Ask<'open'> | Promise<Ask<'open'>>) => run(async () => opened(await call('open', await ask)))
  const tiny = (
    <button type="button" class={model || LOCAL ? '' : 'primary'} disabled={busy} onClick={() => open('tiny')}>
      Take the tiny model
    </button>
  )
  return (
    <>
      <p class="lead">A GGUF file, or a Hugging Face folder with config, tokenizer and weights.</p>
      {LOCAL ? (
        <section class="by-path" aria-label="Choose a model">
          <PathForm busy={busy} first={!model} open={path => open({ path })} />
          <div class="buttons">{tiny}</div>
        </section>
      ) : (
        <Picker {...{ busy, open, tiny }} />
      )}
      {!LOCAL && <FromHub {...{ call, busy, open }} />}
      <p class="status" role="status">
        {busy ? 'Reading …' : ''}
      </p>
      {problem && <Problem message={problem} />}
      {model && !busy && (
        <section class="card" aria-labelledby="model">
          <h2 id="model">{LOCAL ? nameOf(model.name) : model.name}</h2>
          {LOCAL && <p class="hint path">{model.name}</p>}
          <About model={model} />
          <div class="buttons end">
            <button type="button" class="primary" onClick={next}>
              Next: how much
            </button>
          </div>
        </section>
      )}
    </>
  )
}

interface PickerProps {
  readonly busy: boolean
  readonly open: (ask: Ask<'open'> | Promise<Ask<'open'>>) => void
  readonly tiny: ComponentChildren
}

/** Takes files of the browser. */
function Picker({ busy, open, tiny }: PickerProps) {
  const file = useRef<HTMLInputElement>(null)
  const folder = useRef<HTMLInputElement>(null)
  const { over, takes } = useDrop(data => open(dropped(data)))
  const choose = ({ currentTarget }: TargetedEvent<HTMLInputElement>) => {
    const files = chosen(currentTarget.files ?? [])
    currentTarget.value = '' // the same file may be chosen again
    if (files.length > 0) open(files)
  }
  return (
    <section class={over ? 'drop over' : 'drop'} aria-label="Choose a model" {...takes}>
      <p class="big">Drop a model here</p>
      <div class="buttons">
        <button type="button" disabled={busy} onClick={() => file.current?.click()}>
          Choose files
        </button>
        <button type="button" disabled={busy} onClick={() => folder.current?.click()}>
          Choose a folder
        </button>
        {tiny}
      </div>
      <p class="hint">The tiny model comes with this page: 2.6 MB, trained on novels and tales, pruned in seconds.</p>
      <input ref={file} type="file" multiple hidden aria-label="Files of a model" data-of="files" onChange={choose} />
      <input
        ref={element => {
          element?.setAttribute('webkitdirectory', '')
          folder.current = element
        }}
        type="file"
        hidden
        aria-label="Folder of a model"
        data-of="folder"
        onChange={choose}
      />
    </section>
  )
}

const PARTS = [
  ['ffn', 'FFN', 'cut by all methods'],
  ['valueOutput', 'values and outputs of attention', 'cut by “least loss”, too'],
  ['queryKey', 'queries and keys', 'kept'],
  ['other', 'embedding and norms', 'kept'],
] as const

/** What a model is, and of its parameters what can go. */
function About({ model }: { model: Inspection }) {
  const { parameters, experts, heads, kvHeads } = model
  const shown = PARTS.filter(([part]) => parameters[part] > 0)
  const share = (part: keyof typeof parameters) => parameters[part] / parameters.total
  return (
    <>
      <p class="hint">
        {model.modelType}, {model.format === 'gguf' ? 'GGUF' : 'Hugging Face'}, {Object.keys(model.dtypes).join(', ')}
      </p>
      <Figures
        figures={[
          { name: 'Parameters', value: count(parameters.total) },
          { name: 'Weights', value: bytes(model.weightBytes) },
          { name: 'Layers', value: String(model.layers), more: `${model.hiddenSize} wide` },
          {
            name: 'FFN',
            value: String(model.ffnWidth),
            more: experts ? `in each of ${experts.count} experts` : 'neurons a layer',
          },
          {
            name: 'Heads',
            value: String(heads),
            more: kvHeads === heads ? undefined : `${kvHeads} for keys`,
          },
          { name: 'Context', value: count(model.context), more: 'tokens' },
        ]}
      />
      <h3>What can be cut</h3>
      <div class="stack" aria-hidden="true">
        {shown.map(([part]) => (
          <span key={part} class={part} style={{ flexGrow: share(part) }} />
        ))}
      </div>
      <ul class="legend">
        {shown.map(([part, name, what]) => (
          <li key={part}>
            <span class={`key ${part}`} aria-hidden="true" />
            <b>{percent(share(part))}</b> {name}: {what}
          </li>
        ))}
      </ul>
    </>
  )
}
