// Step 2: what a choice comes to, as the library plans it, while the fields move.
import { useEffect, useRef, useState } from 'preact/hooks'
import { bytes, count, cut, duration, span } from '../src/base/display.ts'
import type { Answer, Compute, PlanFacts, TooLarge } from '../src/page/protocol.ts'
import type { Inspection } from '../src/web.ts'
import { type Chosen, settingsOf } from './choice.ts'
import type { Call } from './client.ts'
import { useTask } from './progress.tsx'
import { Figures, Percent, Problem, problemOf } from './ui.tsx'

interface VocabularyProps {
  readonly percent: number
  readonly model: Inspection
  readonly plan: PlanFacts | undefined
  readonly onInput: (percent: number) => void
}

export function Vocabulary({ percent, model, plan, onInput }: VocabularyProps) {
  const kept = plan?.vocabulary?.after
  return (
    <Percent id="vocabulary" label="Keep at most" most={100} value={percent} of="the vocabulary" onInput={onInput} live>
      of {count(model.vocabularySize)} tokens, the most frequent of the text.{' '}
      {kept !== undefined && `${count(kept)} stay, with bytes and special tokens.`}
    </Percent>
  )
}

interface RefusedProps {
  readonly tooLarge: TooLarge
  readonly needed: number
  readonly change: (part: Partial<Pick<Chosen, 'windows' | 'own'>>) => void
}

/** Why it does not begin, and what would fit. */
export function Refused({ tooLarge: { mostBytes, fits }, needed, change }: RefusedProps) {
  return (
    <div class="problem" role="alert">
      <p>
        This does not fit a page: it takes {bytes(needed)}, and a page can use {bytes(mostBytes)}.{' '}
        {fits
          ? `With ${fits.windows} windows${fits.ownText ? ' of text of yours, instead of the model’s,' : ''} ` +
            `it takes ${bytes(fits.memoryBytes)}.`
          : 'Nor does it with less text. Choose a smaller model, or use fasp ui or the command line, ' +
            'which keep on disk what does not fit.'}
      </p>
      {fits && (
        <div class="buttons">
          <button
            type="button"
            onClick={() => change({ windows: String(fits.windows), ...(fits.ownText && { own: true }) })}
          >
            Take what fits
          </button>
        </div>
      )}
    </div>
  )
}

/** The plan of a choice, and what is wrong with it. Of choices that follow fast only the last is planned. */
export function usePlan(call: Call, choice: Chosen, model: Inspection, local: boolean) {
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
        const next = await call('plan', settingsOf(planned, model, local)).then(
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

const NO_FIGURES = ['Parameters', 'Weights', 'FFN', 'Memory'].map(name => ({ name, value: '…' }))

interface PlanProps {
  readonly call: Call
  readonly plan: PlanFacts | undefined
  readonly compute: Compute
}

export function PlanFigures({ call, plan, compute }: PlanProps) {
  const { run, busy, problem } = useTask()
  const [rates, setRates] = useState<Answer<'rate'>>()
  if (!plan) return <Figures figures={NO_FIGURES} />
  const { sizes, widths, memoryBytes, vocabulary, flops } = plan
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
          ...(vocabulary
            ? [{ name: 'Vocabulary', value: count(vocabulary.after), more: `of ${count(vocabulary.before)} tokens` }]
            : []),
          { name: 'Memory', value: bytes(memoryBytes), more: 'at work, at most, about' },
          ...(rates && flops
            ? [
                {
                  name: 'Time',
                  value: duration(secondsOf(flops, rates)),
                  more: 'estimate; more for “least loss”',
                },
              ]
            : []),
        ]}
      />
      {flops && !rates && (
        <p class="estimate">
          <button type="button" disabled={busy} onClick={() => run(async () => setRates(await call('rate', compute)))}>
            Estimate the time
          </button>
          <span class="hint">
            {busy ? 'It multiplies …' : 'Starts what computes, some 14 MB, and multiplies for a second.'}
          </span>
        </p>
      )}
      {problem && <Problem message={problem} />}
    </>
  )
}

/** An estimate: products alone, at the rates of two of them. */
const secondsOf = (work: Answer<'rate'>, rates: Answer<'rate'>): number =>
  (work.float32 / rates.float32 + work.float64 / rates.float64) * 1e-9
