// Step 4: what it is now and what that cost; both models side by side; the model to take away; the command.
import { Fragment } from 'preact'
import { useState } from 'preact/hooks'
import { bytes, count, cut, duration, percent, perplexityChange } from '../src/base/display.ts'
import type { Answer, Measured, PrunedFacts, Side, Speed, Told } from '../src/page/protocol.ts'
import type { Inspection } from '../src/web.ts'
import type { Goal } from './choice.ts'
import type { Call } from './client.ts'
import { commandLine } from './command.ts'
import { download } from './files.ts'
import { nameOf, Where } from './local.tsx'
import { Doing, useTask } from './progress.tsx'
import { PushToHub } from './pushing.tsx'
import { type Figure, Figures, Form, Notices, Problem, Section } from './ui.tsx'
import { Errors, OwnTextFold } from './work.tsx'

interface Props {
  readonly call: Call
  readonly model: Inspection
  readonly result: PrunedFacts
  /** Names of the texts it was repaired on. */
  readonly texts: readonly string[]
  /** Tokens that stay at most, where the vocabulary was cut. */
  readonly vocabulary: number | undefined
  readonly goal: Goal
  readonly again: () => void
}

export function ResultStep({ call, model, result, texts, vocabulary, goal, again }: Props) {
  return (
    <>
      <Figures figures={figuresOf(result)} />
      <Notices notices={result.notices} />
      {result.output !== undefined && (
        <Section title="Where it is">
          <Where output={result.output} />
          {!/\.gguf$/i.test(result.output) && <PushToHub call={call} name={nameOf(result.output)} />}
        </Section>
      )}
      <Section title="Both go on with a text">
        <SideBySide call={call} />
      </Section>
      <Section title="Perplexity on a text of yours">
        <Measure call={call} model={model} />
      </Section>
      {result.output === undefined && (
        <Section title="Take it away">
          <TakeAway {...{ call, model, goal }} />
        </Section>
      )}
      <Section title="A report to keep">
        <Report call={call} />
      </Section>
      <Section title="The same on the command line">
        <Command words={commandLine(model.name, texts, { ...result, vocabulary })} />
      </Section>
      {result.ownText && <OwnTextFold text={result.ownText} />}
      <details>
        <summary>What each layer lost</summary>
        <Errors errors={result.errors} />
      </details>
      <div class="buttons end">
        <button type="button" onClick={again}>
          Try another amount
        </button>
      </div>
    </>
  )
}

function figuresOf({ sizes, heldOut, seconds }: PrunedFacts): Figure[] {
  const { weightBytes, parameters } = sizes
  const both = (of: (n: number) => string, before: number, after: number) => `${of(before)} → ${of(after)}`
  const change = (of: { readonly before: number; readonly after: number }) =>
    of.after > of.before ? cut(of) : `−${cut(of)}`
  return [
    { name: 'Weights', value: change(weightBytes), more: both(bytes, weightBytes.before, weightBytes.after) },
    {
      name: 'Parameters',
      value: change({ ...parameters, after: parameters.effective }),
      more: both(count, parameters.before, parameters.effective),
    },
    ...(heldOut
      ? [
          {
            name: `Perplexity on held-out text${heldOut.own ? ' of its own' : ''}`,
            value: perplexityChange(heldOut.pruned - heldOut.dense),
            more: both(perplexityText, heldOut.dense, heldOut.pruned),
          },
        ]
      : []),
    ...(heldOut?.distance
      ? [
          {
            name: 'Agreement on held-out text',
            value: percent(heldOut.distance.topAgreement),
            more: `of next tokens; KL ${heldOut.distance.kl.toFixed(4)}`,
          },
        ]
      : []),
    { name: 'Time to prune', value: duration(seconds) },
  ]
}

const perplexityText = (nats: number): string => Math.exp(nats).toFixed(2)

const WRITTEN_TOKENS = 60
const SIDES = { dense: 'As it was', pruned: 'Pruned' } as const satisfies Record<Side, string>

function SideBySide({ call }: { call: Call }) {
  const { run, busy, problem } = useTask()
  const [prompt, setPrompt] = useState('Once upon a time')
  const [written, setWritten] = useState<{ readonly prompt: string } & Readonly<Record<Side, string>>>()
  const [speeds, setSpeeds] = useState<Readonly<Record<Side, Speed>>>()
  const write = () =>
    run(async () => {
      setSpeeds(undefined)
      setWritten({ prompt, dense: '', pruned: '' })
      const onTold = (event: Told) => {
        if (event.type !== 'text') return
        setWritten(before => before && { ...before, [event.side]: before[event.side] + event.text })
      }
      setSpeeds(await call('write', { prompt, tokens: WRITTEN_TOKENS }, { onTold }))
    })
  return (
    <Form send={write}>
      <div class="ask">
        <label for="prompt">How a text begins</label>
        <input id="prompt" value={prompt} onInput={({ currentTarget }) => setPrompt(currentTarget.value)} />
        <button type="submit" class="primary" disabled={busy || prompt === ''}>
          Write on
        </button>
      </div>
      {problem && <Problem message={problem} />}
      {written && (
        <div class="sides" aria-live="polite" aria-busy={busy}>
          {(Object.entries(SIDES) as [Side, string][]).map(([side, name]) => (
            <article key={side} aria-label={name}>
              <h3>
                {name} <small>{speedText(speeds?.[side])}</small>
              </h3>
              <p>
                <span class="prompt">{written.prompt}</span>
                {written[side]}
              </p>
            </article>
          ))}
        </div>
      )}
    </Form>
  )
}

const speedText = (speed: Speed | undefined): string =>
  speed?.tokensPerSecond === undefined ? '' : `${Math.round(speed.tokensPerSecond)} tokens/s`

const MOST_TOKENS = 512

function Measure({ call, model }: { call: Call; model: Inspection }) {
  const task = useTask()
  const [text, setText] = useState('')
  const [found, setFound] = useState<Measured>()
  const measure = () =>
    task.run(async options => {
      setFound(undefined)
      setFound(await call('measure', { text, seqLen: Math.min(MOST_TOKENS, model.context) }, options))
    })
  return (
    <Form send={measure}>
      <label for="measured">Text that the model was not repaired on, of some pages</label>
      <textarea id="measured" rows={4} value={text} onInput={({ currentTarget }) => setText(currentTarget.value)} />
      <div class="buttons">
        <button type="submit" disabled={task.busy || text.trim() === ''}>
          Measure
        </button>
      </div>
      <Doing {...task} cancel={undefined} />
      {found && (
        <Figures
          live
          figures={[
            { name: 'As it was', value: found.dense.perplexity.toFixed(2), more: windowsText(found) },
            {
              name: 'Pruned',
              value: found.pruned.perplexity.toFixed(2),
              more: perplexityChange(Math.log(found.pruned.perplexity / found.dense.perplexity)),
            },
            {
              name: 'Same next token',
              value: percent(found.divergence.topAgreement),
              more: `KL ${found.divergence.kl.toFixed(4)}`,
            },
          ]}
        />
      )}
    </Form>
  )
}

function Report({ call }: { call: Call }) {
  const task = useTask()
  const [saved, setSaved] = useState('')
  const save = () =>
    task.run(async options => {
      setSaved('')
      const { name, html } = await call('report', null, options)
      download(new File([html], name, { type: 'text/html' }))
      setSaved(name)
    })
  return (
    <>
      <p class="hint">
        One HTML file, as <code>fasp prune --report</code> makes it: sizes, layers, what both models write, all options.
      </p>
      <button type="button" disabled={task.busy} onClick={save}>
        Save report
      </button>
      <Doing {...task} cancel={undefined} />
      <p class="status" role="status">
        {saved && `${saved}: saved where your downloads go.`}
      </p>
    </>
  )
}

const windowsText = ({ dense: { windows, seqLen } }: Measured) => `${windows} × ${seqLen} tokens`

const FORMATS = {
  gguf: {
    name: 'GGUF',
    what: 'One file for llama.cpp, Ollama, LM Studio.',
    types: ['Q8_0', 'Q6_K', 'Q5_K_M', 'Q4_K_M', 'Q4_0', 'F16', 'BF16', 'F32'],
    free: 'as the model',
  },
  safetensors: {
    name: 'safetensors',
    what: 'A Hugging Face folder, zipped: weights, config, tokenizer, model card, fasp.json.',
    types: [],
    free: '',
  },
  onnx: {
    name: 'ONNX',
    what: 'A folder for transformers.js, zipped, with the tokenizer.',
    types: ['q4', 'q4f16', 'fp16', 'fp32'],
    free: 'q8',
  },
} as const

type Format = keyof typeof FORMATS

/** What the goals ask for, beside what the format is without. */
const OF_GOALS: Partial<Record<Goal, readonly [Format, string]>> = { laptop: ['gguf', 'Q4_K_M'], tab: ['onnx', 'q4'] }

/** TypeScript's types of the DOM have no pickers yet. Where there is none, files go where downloads go. */
type Picker = (options: { readonly suggestedName: string }) => Promise<FileSystemFileHandle>
const picker = (): Picker | undefined =>
  (window as Window & { readonly showSaveFilePicker?: Picker }).showSaveFilePicker?.bind(window)

function TakeAway({ call, model, goal }: { call: Call; model: Inspection; goal: Goal }) {
  const task = useTask()
  const [first, firstType] = OF_GOALS[goal] ?? (['gguf', ''] as const)
  const [dtypes, setDtypes] = useState<Partial<Record<Format, string>>>({ [first]: firstType })
  const [taken, setTaken] = useState<Answer<'take'>>()
  const name = `${model.name.replace(/^.*\//, '').replace(/\.gguf$/i, '')}-pruned`
  const take = (to: Format) =>
    task.run(async options => {
      setTaken(undefined)
      const suggestedName = `${name}${{ gguf: '.gguf', safetensors: '.zip', onnx: '-onnx.zip' }[to]}`
      const into = await picker()?.({ suggestedName }).catch(leftOut)
      if (into === null) return
      const answer = await call('take', { to, dtype: dtypes[to] || undefined, into }, options)
      setTaken(answer)
      if (answer.file) download(answer.file)
    })
  return (
    <>
      <div class="take">
        {(Object.entries(FORMATS) as [Format, (typeof FORMATS)[Format]][]).map(([to, { name, what, types, free }]) => (
          <div key={to}>
            <h3>{name}</h3>
            <p class="hint">{what}</p>
            {types.length > 0 && (
              <label>
                Type{' '}
                <select
                  aria-label={`Type of ${name}`}
                  value={dtypes[to] ?? ''}
                  onChange={({ currentTarget: { value } }) => setDtypes({ ...dtypes, [to]: value })}
                >
                  <option value="">{free}</option>
                  {types.map(type => (
                    <option key={type}>{type}</option>
                  ))}
                </select>
              </label>
            )}
            <button type="button" class={to === first ? 'primary' : ''} disabled={task.busy} onClick={() => take(to)}>
              Save {name}
            </button>
          </div>
        ))}
      </div>
      <Doing {...task} cancel={undefined} />
      <Notices notices={task.progress.notices} />
      <p class="status" role="status">
        {taken ? `${taken.name}, ${bytes(taken.bytes)}: saved${taken.file ? ' where your downloads go' : ''}.` : ''}
      </p>
      <PushToHub {...{ call, name }} types={{ gguf: '', onnx: '', ...dtypes }} />
    </>
  )
}

/** Who closes the picker wants nothing saved. */
function leftOut(error: unknown): null {
  if ((error as Error).name === 'AbortError') return null
  throw error
}

/** Lines break between words, and within one alone that is longer than a line. */
function Command({ words }: { words: readonly string[] }) {
  const [said, setSaid] = useState('')
  const copy = () =>
    navigator.clipboard.writeText(words.join(' ')).then(
      () => setSaid('Copied.'),
      () => setSaid('The browser does not let this page copy.'),
    )
  return (
    <>
      <div class="command">
        <pre>
          <code>
            {words.map((word, i) => (
              <Fragment key={i}>
                {i > 0 && ' '}
                <span>{word}</span>
              </Fragment>
            ))}
          </code>
        </pre>
        <button type="button" onClick={copy}>
          Copy
        </button>
      </div>
      <p class="status" role="status">
        {said}
      </p>
    </>
  )
}
