// Step 2: how much goes, and on what text the rest is repaired. Figures are those of the plan that the library makes.
import type { TargetedEvent } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { bytes, count, cut, span } from '../src/display.ts'
import type { Compute, Order, PlanFacts, Settings } from '../src/ui/protocol.ts'
import type { Inspection } from '../src/web.ts'
import type { Call } from './client.ts'
import { OutputField, TextPaths, useLocal } from './local.tsx'
import { Figures, Notices, Problem, problemOf, useDrop } from './ui.tsx'

const GOALS = {
  stock: [
    'Runs anywhere',
    'One narrower width for all layers. Loads wherever the model loads: llama.cpp, Ollama, transformers.',
  ],
  best: [
    'Least loss',
    'Each layer its own width, by what it costs. Slower to make; llama.cpp runs it, transformers with the code beside it.',
  ],
  size: ['Fits a size', 'As “runs anywhere”, and as much goes as it must.'],
} as const

type Goal = keyof typeof GOALS

/** What the user has chosen, as it stands in the fields. */
export interface Chosen {
  readonly goal: Goal
  readonly percent: number
  readonly megabytes: string
  readonly text: string
  readonly own: boolean
  readonly files: readonly File[]
  readonly method: string
  readonly windows: string
  readonly seqLen: string
  readonly seed: string
  readonly compute: Compute
  /** Of `fasp ui`, whose `text` has paths. Empty: a name that is free. */
  readonly output: string
  /** Names of the texts; none where the model writes its own. */
  readonly texts: readonly string[]
}

export const FIRST_CHOICE: Chosen = {
  ...{ goal: 'stock', percent: 20, megabytes: '', own: false, text: '', files: [], method: '' },
  ...{ windows: '', seqLen: '', seed: '', compute: 'auto', texts: [], output: '' },
}

const OWN_TEXT = 'your-text.txt'
const MOST_PERCENT = 70
/** WebAssembly addresses so much. */
const MOST_MEMORY = 4e9

const textsOf = ({ own, text, files }: Chosen, local: boolean): (File | string)[] => {
  if (!own) return []
  if (local) return text.split('\n').flatMap(line => line.trim() || [])
  return [...(text.trim() ? [new File([text], OWN_TEXT)] : []), ...files]
}

const numberOf = (text: string) => (text.trim() === '' ? undefined : Number(text))

/** @param model path of it, where `fasp ui` computes */
export function settingsOf(choice: Chosen, model?: string): Settings {
  const { goal, percent, megabytes, method, windows, seqLen, seed, compute } = choice
  const texts = textsOf(choice, model !== undefined)
  return {
    ...(goal === 'size' ? { size: Math.round(Number(megabytes) * 1e6) } : { sparsity: percent / 100 }),
    method: method.trim() || (goal === 'best' ? 'best' : 'stock'),
    ...(choice.own && { texts }),
    ...{ windows: numberOf(windows), seqLen: numberOf(seqLen), seed: numberOf(seed) },
    ...(model === undefined ? { compute } : { model, output: choice.output.trim() || undefined }),
  }
}

/** As the fields stood for a job of `fasp ui`. */
export function choiceOf({ settings, output }: Order): Chosen {
  const { sparsity, size, method = '', texts = [], windows = '', seqLen = '', seed = '' } = settings
  const named = texts.filter(text => typeof text === 'string')
  return {
    ...FIRST_CHOICE,
    goal: size !== undefined ? 'size' : method === 'best' ? 'best' : 'stock',
    percent: Math.round(100 * (sparsity ?? FIRST_CHOICE.percent / 100)),
    megabytes: size === undefined ? '' : String(size / 1e6),
    method: ['best', 'stock'].includes(method) ? '' : method,
    ...{ windows: String(windows), seqLen: String(seqLen), seed: String(seed), output },
    ...{ own: named.length > 0, text: named.join('\n'), texts: named },
  }
}

interface Props {
  readonly call: Call
  readonly model: Inspection
  readonly choice: Chosen
  readonly setChoice: (choice: Chosen) => void
  readonly prune: () => void
  /** What is said above of the run before, and need not be said twice. */
  readonly said: string | undefined
}

export function AmountStep({ call, model, choice, setChoice, prune, said }: Props) {
  const local = useLocal()
  const { plan, problem } = usePlan(call, choice, local ? model.name : undefined)
  const change = (part: Partial<Chosen>) => {
    const next = { ...choice, ...part }
    setChoice({ ...next, texts: textsOf(next, local).map(text => (typeof text === 'string' ? text : text.name)) })
  }
  const field =
    (name: 'megabytes' | 'text' | 'method' | 'windows' | 'seqLen' | 'seed') =>
    ({ currentTarget }: TargetedEvent<HTMLInputElement | HTMLTextAreaElement>) =>
      change({ [name]: currentTarget.value })
  const noText = choice.own && choice.texts.length === 0
  return (
    <form
      onSubmit={event => {
        event.preventDefault()
        if (plan && !problem && !noText) prune()
      }}
    >
      <fieldset class="goals">
        <legend>What matters most</legend>
        {(Object.entries(GOALS) as [Goal, readonly [string, string]][]).map(([goal, [name, what]]) => (
          <label key={goal} class="choice">
            <input
              type="radio"
              name="goal"
              checked={choice.goal === goal}
              onChange={() => change({ goal, megabytes: choice.megabytes || firstSize(model) })}
            />
            <span>
              <b>{name}</b>
              <small>{what}</small>
            </span>
          </label>
        ))}
      </fieldset>
      {choice.goal === 'size' ? (
        <div class="amount">
          <label for="megabytes">Weights of at most</label>
          <span class="unit">
            <input
              id="megabytes"
              inputMode="decimal"
              value={choice.megabytes}
              onInput={field('megabytes')}
              aria-describedby="before"
            />
            MB
          </span>
          <span id="before" class="hint">
            now {bytes(model.weightBytes)}
          </span>
        </div>
      ) : (
        <Slider percent={choice.percent} onChange={percent => change({ percent })} />
      )}
      {problem ? problem !== said && <Problem message={problem} /> : <PlanFigures plan={plan} />}
      <fieldset>
        <legend>Text to repair it on</legend>
        <label class="choice">
          <input type="radio" name="text" checked={!choice.own} onChange={() => change({ own: false })} />
          <span>
            <b>The model writes it</b>
            <small>
              The best first choice for a model that serves texts of all kinds. Takes about half of the time.
            </small>
          </span>
        </label>
        <label class="choice">
          <input type="radio" name="text" checked={choice.own} onChange={() => change({ own: true })} />
          <span>
            <b>Text of mine</b>
            <small>Like what the model will be used on. Several kinds are better than one.</small>
          </span>
        </label>
        {choice.own &&
          (local ? (
            <TextPaths value={choice.text} onInput={text => change({ text })} />
          ) : (
            <OwnText choice={choice} change={change} onText={field('text')} />
          ))}
      </fieldset>
      {local && <OutputField value={choice.output} free={plan?.output ?? ''} onInput={output => change({ output })} />}
      <details>
        <summary>Options of the method</summary>
        <div class="options">
          <label>
            Method, as on the command line
            <input
              value={choice.method}
              onInput={field('method')}
              placeholder={choice.goal === 'best' ? 'best' : 'stock'}
            />
          </label>
          <label>
            Windows of text
            <input
              inputMode="numeric"
              value={choice.windows}
              onInput={field('windows')}
              placeholder={String(plan?.options.windows ?? '')}
            />
          </label>
          <label>
            Tokens a window
            <input
              inputMode="numeric"
              value={choice.seqLen}
              onInput={field('seqLen')}
              placeholder={String(plan?.options.seqLen ?? '')}
            />
          </label>
          <label>
            Seed
            <input inputMode="numeric" value={choice.seed} onInput={field('seed')} placeholder="0" />
          </label>
          {!local && (
            <label>
              Compute with
              <select
                value={choice.compute}
                onChange={({ currentTarget }) => change({ compute: currentTarget.value as Compute })}
              >
                <option value="auto">WebGPU where there is one</option>
                <option value="wasm">WebAssembly</option>
              </select>
            </label>
          )}
        </div>
        <p class="hint">
          Methods: stock, best, paper, plain, flap, wanda-sp, magnitude, osscar …; options follow the name, as in{' '}
          <code>best:alpha=0.25</code>.
        </p>
      </details>
      <Notices notices={plan && !problem ? plan.notices : []} />
      <div class="buttons end">
        <button type="submit" class="primary" disabled={!plan || problem !== undefined || noText}>
          Prune
        </button>
      </div>
    </form>
  )
}

/** Four fifths of what it has. */
const firstSize = ({ weightBytes }: Inspection) => String(Number(((0.8 * weightBytes) / 1e6).toPrecision(3)))

function Slider({ percent, onChange }: { percent: number; onChange: (percent: number) => void }) {
  return (
    <div class="amount">
      <label for="sparsity">Take out</label>
      <output for="sparsity">{percent} %</output>
      <input
        id="sparsity"
        type="range"
        min={1}
        max={MOST_PERCENT}
        value={percent}
        aria-valuetext={`${percent} % of the decoder’s linear layers`}
        aria-describedby="advice"
        style={{ '--at': `${(100 * (percent - 1)) / (MOST_PERCENT - 1)}%` }}
        onInput={({ currentTarget }) => onChange(Number(currentTarget.value))}
      />
      <span id="advice" class="hint">
        of the decoder’s linear layers.{' '}
        {percent <= 10
          ? 'A good start: little is lost.'
          : percent <= 20
            ? 'Small models begin to lose their sense here, larger ones later.'
            : 'Small models write broken text from here on; look at what comes out.'}
      </span>
    </div>
  )
}

/** The plan of a choice, and what is wrong with it. Of choices that follow fast only the last is planned. */
function usePlan(call: Call, choice: Chosen, model: string | undefined) {
  const [found, setFound] = useState<{ readonly plan?: PlanFacts; readonly problem?: string }>({})
  const running = useRef(false)
  const latest = useRef(choice)
  latest.current = choice
  useEffect(() => {
    if (running.current) return
    running.current = true
    void (async () => {
      for (let planned: Chosen | undefined; planned !== latest.current; ) {
        planned = latest.current
        const next = await call('plan', settingsOf(planned, model)).then(
          plan => ({ plan }),
          error => ({ problem: problemOf(error) }),
        )
        setFound(before => ({ plan: before.plan, ...next, problem: 'problem' in next ? next.problem : undefined }))
      }
      running.current = false
    })()
  }, [call, choice, model])
  return found
}

function PlanFigures({ plan }: { plan: PlanFacts | undefined }) {
  const local = useLocal()
  if (!plan) return <Figures figures={['Parameters', 'Weights', 'FFN', 'Memory'].map(name => ({ name, value: '…' }))} />
  const { sizes, widths, memoryBytes } = plan
  const { before, effective } = sizes.parameters
  const { weightBytes } = sizes
  const ffn = widths.after.map(({ ffn }) => ffn)
  return (
    <>
      <Figures
        live
        figures={[
          {
            name: 'Parameters',
            value: count(effective),
            more: `${count(before)} now; −${cut({ before, after: effective })}`,
          },
          { name: 'Weights', value: bytes(weightBytes.after), more: `${bytes(weightBytes.before)} now` },
          { name: 'FFN', value: span(ffn), more: `of ${widths.before.ffn} neurons a layer` },
          { name: 'Memory while it works', value: bytes(memoryBytes), more: 'at most, about' },
        ]}
      />
      {!local && memoryBytes > MOST_MEMORY && (
        <p class="warning">
          This may not fit: a page can use {bytes(MOST_MEMORY)} at most. Less text, or text of yours instead of the
          model’s, takes less; on the command line fasp keeps on disk what does not fit.
        </p>
      )}
    </>
  )
}

interface OwnTextProps {
  readonly choice: Chosen
  readonly change: (part: Partial<Chosen>) => void
  readonly onText: (event: TargetedEvent<HTMLTextAreaElement>) => void
}

function OwnText({ choice, change, onText }: OwnTextProps) {
  const add = (files: Iterable<File> | undefined) => change({ files: [...choice.files, ...(files ?? [])] })
  const { over, takes } = useDrop(({ files }) => add(files))
  return (
    <section aria-label="Text of mine" class={over ? 'texts over' : 'texts'} {...takes}>
      <label for="text">Paste text, or drop text files</label>
      <textarea id="text" rows={5} value={choice.text} onInput={onText} />
      <div class="buttons">
        <label class="button">
          Add text files
          <input
            class="hidden"
            type="file"
            multiple
            accept=".txt,.md,text/*"
            onChange={({ currentTarget }) => add(currentTarget.files ?? [])}
          />
        </label>
        {choice.files.length > 0 && (
          <button type="button" onClick={() => change({ files: [] })}>
            Leave files out
          </button>
        )}
      </div>
      {choice.files.length > 0 && (
        <ul class="files">
          {choice.files.map((file, i) => (
            <li key={`${i} ${file.name}`}>
              {file.name} <small>{bytes(file.size)}</small>
            </li>
          ))}
        </ul>
      )}
    </section>
  )
}
