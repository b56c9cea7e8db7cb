// The page: four steps, one screen each. The worker, or `fasp ui`, holds the model and the result.
import { useEffect, useRef, useState } from 'preact/hooks'
import { VERSION } from '../src/base/version.ts'
import type { LocalState, PrunedFacts } from '../src/page/protocol.ts'
import type { Inspection } from '../src/web.ts'
import { AmountStep } from './amount.tsx'
import { type Chosen, choiceOf, FIRST_CHOICE, settingsOf, vocabularyOf } from './choice.ts'
import type { Call, CallOptions } from './client.ts'
import { ModelStep } from './model.tsx'
import { useTask } from './progress.tsx'
import { StoppedRuns } from './stopped.tsx'
import { Problem } from './ui.tsx'

const STEPS = ['Model', 'How much', 'Work', 'Result'] as const

type Step = 0 | 1 | 2 | 3

/** @param local what `fasp ui` is at, where it computes */
export function App({ call, local }: { call: Call; local?: LocalState }) {
  const [step, setStep] = useState<Step>(0)
  const [model, setModel] = useState<Inspection>()
  const [choice, setChoice] = useState<Chosen>(FIRST_CHOICE)
  const [result, setResult] = useState<PrunedFacts>()
  const [later, setLater] = useState<typeof import('./later.ts')>()
  const [stopped, setStopped] = useState(local?.stopped ?? [])
  const { run, busy, problem, progress, cancel, forget } = useTask()
  const heading = useFocus(step)
  const working = busy && step === 2
  const isReachable = (to: Step) =>
    !working && (to === 0 || to === step || (to === 1 && model !== undefined) || (to === 3 && result !== undefined))

  // A job that was begun before this page opened, or what another left.
  useEffect(() => {
    if (local) adopt(local)
    else void look()
  }, [])

  /** Goes on where a job is. */
  function adopt({ job, stopped }: LocalState) {
    setStopped(stopped)
    if (!job) return
    setModel(job.inspection)
    setChoice(choiceOf(job.order, job.inspection))
    void work(options => call('follow', null, options))
  }

  /** What was stopped may go on; of a server that has ended something else was said. */
  const look = () =>
    call('state', null).then(
      state => setStopped(state.stopped),
      () => {},
    )

  const prune = () => work(options => call('prune', settingsOf(choice, model!, local !== undefined), options))

  const work = (job: (options: CallOptions) => Promise<PrunedFacts>) =>
    run(async options => {
      setResult(undefined)
      try {
        const steps = later ?? (await import('./later.ts'))
        setLater(steps)
        setStep(2)
        setResult(await job(options))
        setChoice(before => ({ ...before, output: '' })) // the next goes elsewhere
        setStep(3)
      } catch (error) {
        setStep(1)
        await look()
        throw error
      }
    })

  const opened = (next: Inspection) => {
    setModel(next)
    setResult(undefined)
    forget()
  }

  return (
    <>
      <a class="skip" href="#main">
        Skip to the step
      </a>
      <Header local={local !== undefined} {...{ step, setStep, isReachable }} />
      <main id="main">
        <h1 ref={heading} tabIndex={-1}>
          {['Which model?', 'How much smaller?', 'At work', 'What came out'][step]}
        </h1>
        {problem && step === 1 && <Problem message={problem} />}
        {step === 0 && (
          <>
            <StoppedRuns {...{ call, stopped, setStopped, model, opened, adopt }} />
            <ModelStep {...{ call, model, opened }} next={() => setStep(1)} />
          </>
        )}
        {step === 1 && model && <AmountStep {...{ call, model, choice, setChoice, prune }} said={problem} />}
        {step === 2 && later && <later.WorkStep progress={progress} cancel={cancel} />}
        {step === 3 && later && model && result && (
          <later.ResultStep
            {...{ call, model, result }}
            texts={choice.texts}
            goal={choice.goal}
            vocabulary={vocabularyOf(choice, model)}
            again={() => setStep(1)}
          />
        )}
      </main>
      <footer>
        <p>
          fasp {VERSION}. No account, no cookies, and no requests but{' '}
          {local ? 'to fasp ui on this machine' : 'for the files of this page, and those to the Hub that you ask for'}.
        </p>
      </footer>
    </>
  )
}

/** Who reads by keyboard or ear goes on where a new step begins. @returns of the heading */
function useFocus(step: Step) {
  const heading = useRef<HTMLHeadingElement>(null)
  const shown = useRef<Step>(0)
  useEffect(() => {
    if (shown.current === step) return
    shown.current = step
    heading.current?.focus()
    window.scrollTo(0, 0)
  }, [step])
  return heading
}

interface HeaderProps {
  readonly local: boolean
  readonly step: Step
  readonly setStep: (step: Step) => void
  readonly isReachable: (step: Step) => boolean
}

const Header = ({ local, step, setStep, isReachable }: HeaderProps) => (
  <header class="top">
    <p class="brand">
      <img src="./icon.svg" alt="" width="28" height="28" /> fasp
    </p>
    <p class="claim">
      Makes a language model smaller,{' '}
      {local
        ? 'with the engine of this machine. Its weights stay on it'
        : 'in this page. Its weights stay on this machine'}
      , unless you push them to the Hub.
    </p>
    <nav aria-label="Steps">
      <ol class="steps">
        {STEPS.map((name, i) => (
          <li key={name}>
            <button
              type="button"
              aria-current={i === step ? 'step' : undefined}
              disabled={!isReachable(i as Step)}
              onClick={() => setStep(i as Step)}
            >
              <span class="number">{i + 1}</span> {name}
            </button>
          </li>
        ))}
      </ol>
    </nav>
  </header>
)
