// Step 2: how much goes, and on what text the rest is repaired. Figures are those of the plan that the library makes.
import type { TargetedEvent } from 'preact'
import { bytes } from '../src/base/display.ts'
import type { Compute } from '../src/page/protocol.ts'
import type { Inspection } from '../src/web.ts'
import { type Chosen, FIRST_VOCABULARY, GIGABYTE, GOALS, type Goal, MOST_PERCENT, textsOf } from './choice.ts'
import type { Call } from './client.ts'
import { LOCAL, OutputField, TextPaths } from './local.tsx'
import { PlanFigures, Refused, usePlan, Vocabulary } from './planned.tsx'
import { Notices, Problem, useDrop } from './ui.tsx'

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
  const local = LOCAL
  const { plan, problem } = usePlan(call, choice, model, local)
  const tooLarge = !local && plan?.tooLarge
  const change = (part: Partial<Chosen>) => {
    const next = { ...choice, ...part }
    setChoice({ ...next, texts: textsOf(next, local).map(text => (typeof text === 'string' ? text : text.name)) })
  }
  const field =
    (name: 'megabytes' | 'text' | 'method' | 'windows' | 'seqLen' | 'seed') =>
    ({ currentTarget }: TargetedEvent<HTMLInputElement | HTMLTextAreaElement>) =>
      change({ [name]: currentTarget.value })
  const noText = choice.own && choice.texts.length === 0
  const ready = plan && !tooLarge && problem === undefined && !noText
  return (
    <form
      onSubmit={event => {
        event.preventDefault()
        if (ready) prune()
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
              disabled={goal === 'gigabyte' && model.weightBytes <= GIGABYTE}
              onChange={() => change({ goal, megabytes: choice.megabytes || firstSize(model) })}
            />
            <span>
              <b>{name}</b>
              <small>{goal === 'gigabyte' && model.weightBytes <= GIGABYTE ? 'It does already.' : what}</small>
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
      ) : choice.goal === 'gigabyte' ? null : (
        <Slider percent={choice.percent} onChange={percent => change({ percent })} />
      )}
      {problem ? (
        problem !== said && <Problem message={problem} />
      ) : (
        <PlanFigures {...{ call, plan, compute: choice.compute }} />
      )}
      {tooLarge && <Refused tooLarge={tooLarge} needed={plan.memoryBytes} change={change} />}
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
      <fieldset>
        <legend>Vocabulary</legend>
        <label class="choice">
          <input
            type="checkbox"
            checked={choice.own && choice.vocabulary !== undefined}
            disabled={!choice.own}
            onChange={({ currentTarget }) =>
              change({ vocabulary: currentTarget.checked ? FIRST_VOCABULARY : undefined })
            }
          />
          <span>
            <b>Keep only tokens of my text</b>
            <small>
              {choice.own
                ? 'Embeddings of the others go. Other texts and languages are then spelled in more tokens.'
                : 'For a text of yours: choose it above first.'}
            </small>
          </span>
        </label>
        {choice.own && choice.vocabulary !== undefined && (
          <Vocabulary
            {...{ percent: choice.vocabulary, model, plan }}
            onChange={vocabulary => change({ vocabulary })}
          />
        )}
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
        <button type="submit" class="primary" disabled={!ready}>
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
