// Step 2: how much goes, and on what text the rest is repaired. Figures are those of the plan that the library makes.
import { bytes } from '../src/base/display.ts'
import type { Compute, PlanFacts } from '../src/page/protocol.ts'
import type { Inspection } from '../src/web.ts'
import {
  type Chosen,
  FIRST_VOCABULARY,
  GIGABYTE,
  GOALS,
  type Goal,
  MOST_PERCENT,
  textNames,
  textsOf,
} from './choice.ts'
import type { Call } from './client.ts'
import { LOCAL, OutputField, TextPaths } from './local.tsx'
import { PlanFigures, Refused, usePlan, Vocabulary } from './planned.tsx'
import { Choice, Form, Notices, Percent, Problem, TextField, useDrop } from './ui.tsx'

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
  const { plan, problem } = usePlan(call, choice, model, LOCAL)
  const tooLarge = !LOCAL && plan?.tooLarge
  const change = (part: Partial<Chosen>) => {
    const next = { ...choice, ...part }
    setChoice({ ...next, texts: textNames(textsOf(next, LOCAL)) })
  }
  const noText = choice.own && choice.texts.length === 0
  const ready = plan && !tooLarge && problem === undefined && !noText
  const part = { model, choice, change, plan }
  return (
    <Form send={() => ready && prune()}>
      <Goals {...part} />
      {choice.goal === 'size' ? (
        <SizeField {...part} />
      ) : choice.goal === 'gigabyte' ? null : (
        <Slider percent={choice.percent} onInput={percent => change({ percent })} />
      )}
      {problem ? (
        problem !== said && <Problem message={problem} />
      ) : (
        <PlanFigures {...{ call, plan, compute: choice.compute }} />
      )}
      {tooLarge && <Refused tooLarge={tooLarge} needed={plan.memoryBytes} change={change} />}
      <Texts {...part} />
      <Tokens {...part} />
      {LOCAL && <OutputField value={choice.output} free={plan?.output ?? ''} onInput={output => change({ output })} />}
      <MethodOptions {...part} />
      <Notices notices={plan && !problem ? plan.notices : []} />
      <div class="buttons end">
        <button type="submit" class="primary" disabled={!ready}>
          Prune
        </button>
      </div>
    </Form>
  )
}

interface PartProps {
  readonly model: Inspection
  readonly choice: Chosen
  readonly change: (part: Partial<Chosen>) => void
  readonly plan: PlanFacts | undefined
}

function Goals({ model, choice, change }: PartProps) {
  const isThere = (goal: Goal) => goal === 'gigabyte' && model.weightBytes <= GIGABYTE
  return (
    <fieldset class="goals">
      <legend>What matters most</legend>
      {(Object.entries(GOALS) as [Goal, readonly [string, string]][]).map(([goal, [name, what]]) => (
        <Choice
          key={goal}
          name="goal"
          title={name}
          hint={isThere(goal) ? 'It does already.' : what}
          checked={choice.goal === goal}
          disabled={isThere(goal)}
          choose={() => change({ goal, megabytes: choice.megabytes || firstSize(model) })}
        />
      ))}
    </fieldset>
  )
}

/** Four fifths of what it has. */
const firstSize = ({ weightBytes }: Inspection) => String(Number(((0.8 * weightBytes) / 1e6).toPrecision(3)))

const SizeField = ({ model, choice, change }: PartProps) => (
  <div class="amount">
    <label for="megabytes">Weights of at most</label>
    <span class="unit">
      <TextField
        id="megabytes"
        inputMode="decimal"
        value={choice.megabytes}
        onInput={megabytes => change({ megabytes })}
        aria-describedby="before"
      />
      MB
    </span>
    <span id="before" class="hint">
      now {bytes(model.weightBytes)}
    </span>
  </div>
)

const Slider = ({ percent, onInput }: { percent: number; onInput: (percent: number) => void }) => (
  <Percent
    id="sparsity"
    label="Take out"
    most={MOST_PERCENT}
    value={percent}
    of="the decoder’s linear layers"
    onInput={onInput}
  >
    of the decoder’s linear layers.{' '}
    {percent <= 10
      ? 'A good start: little is lost.'
      : percent <= 20
        ? 'Small models begin to lose their sense here, larger ones later.'
        : 'Small models write broken text from here on; look at what comes out.'}
  </Percent>
)

const Texts = ({ choice, change }: PartProps) => (
  <fieldset>
    <legend>Text to repair it on</legend>
    <Choice
      name="text"
      title="The model writes it"
      hint="The best first choice for a model that serves texts of all kinds. Takes about half of the time."
      checked={!choice.own}
      choose={() => change({ own: false })}
    />
    <Choice
      name="text"
      title="Text of mine"
      hint="Like what the model will be used on. Several kinds are better than one."
      checked={choice.own}
      choose={() => change({ own: true })}
    />
    {choice.own &&
      (LOCAL ? (
        <TextPaths value={choice.text} onInput={text => change({ text })} />
      ) : (
        <OwnText choice={choice} change={change} />
      ))}
  </fieldset>
)

const Tokens = ({ model, choice: { own, vocabulary }, change, plan }: PartProps) => (
  <fieldset>
    <legend>Vocabulary</legend>
    <Choice
      type="checkbox"
      title="Keep only tokens of my text"
      hint={
        own
          ? 'Embeddings of the others go. Other texts and languages are then spelled in more tokens.'
          : 'For a text of yours: choose it above first.'
      }
      checked={own && vocabulary !== undefined}
      disabled={!own}
      choose={checked => change({ vocabulary: checked ? FIRST_VOCABULARY : undefined })}
    />
    {own && vocabulary !== undefined && (
      <Vocabulary percent={vocabulary} model={model} plan={plan} onInput={vocabulary => change({ vocabulary })} />
    )}
  </fieldset>
)

function MethodOptions({ choice, change, plan }: PartProps) {
  const { windows, seqLen } = plan?.options ?? {}
  const fields = [
    ['method', 'Method, as on the command line', choice.goal === 'best' ? 'best' : 'stock'],
    ['windows', 'Windows of text', windows],
    ['seqLen', 'Tokens a window', seqLen],
    ['seed', 'Seed', 0],
  ] as const
  return (
    <details>
      <summary>Options of the method</summary>
      <div class="options">
        {fields.map(([name, label, free]) => (
          <label key={name} for={name}>
            {label}
            <TextField
              id={name}
              inputMode={name === 'method' ? undefined : 'numeric'}
              value={choice[name]}
              placeholder={String(free ?? '')}
              onInput={text => change({ [name]: text })}
            />
          </label>
        ))}
        {!LOCAL && (
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
  )
}

function OwnText({ choice, change }: Pick<PartProps, 'choice' | 'change'>) {
  const add = (files: Iterable<File> | undefined) => change({ files: [...choice.files, ...(files ?? [])] })
  const { over, takes } = useDrop(({ files }) => add(files))
  return (
    <section aria-label="Text of mine" class={over ? 'texts over' : 'texts'} {...takes}>
      <label for="text">Paste text, or drop text files</label>
      <textarea
        id="text"
        rows={5}
        value={choice.text}
        onInput={({ currentTarget }) => change({ text: currentTarget.value })}
      />
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
