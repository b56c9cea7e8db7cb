// Step 3: how far it is, and what each layer lost, before and after its repair.
import { percent } from '../src/base/display.ts'
import type { HalfError, OwnText, Told } from '../src/page/protocol.ts'
import { LOCAL, nameOf } from './local.tsx'
import { NAMES, PhaseBar, type Progress } from './progress.tsx'
import { Notices } from './ui.tsx'

export function WorkStep({ progress, cancel }: { progress: Progress; cancel: () => void }) {
  const { phases, errors, engine, job, notices, ownText, soFar } = progress
  const current = phases.at(-1)
  return (
    <>
      <p class="lead" role="status">
        {current
          ? `${NAMES[current.phase] ?? current.phase} …`
          : engine || LOCAL
            ? 'Getting ready …'
            : 'The engine is fetched …'}
      </p>
      {job && (
        <p class="path">
          <b>{nameOf(job.model)}</b> into {job.output}
        </p>
      )}
      {engine && (
        <p class="hint">
          {LOCAL
            ? `Computed by fasp ui on this machine, with ${engine}. This page may be closed, and finds the work again.`
            : `Computed here, with ${engine}. The page may lie in the background; closed, its work stands still.`}
        </p>
      )}
      <ol class="phases">
        {phases.map(one => (
          <PhaseBar key={one.phase} progress={one} />
        ))}
      </ol>
      {soFar && <SoFar {...soFar} />}
      {errors.length > 0 && <Errors errors={errors} />}
      {ownText && <OwnTextFold text={ownText} />}
      <Notices notices={notices} />
      <div class="buttons end">
        <button type="button" onClick={cancel}>
          Cancel
        </button>
      </div>
    </>
  )
}

/** How the model goes on with a text while only its first layers are pruned. */
const SoFar = ({ layers, prompt, text }: Extract<Told, { type: 'so far' }>) => (
  <section class="so-far" aria-labelledby="so-far">
    <h2 id="so-far">
      What it writes with {layers} {layers === 1 ? 'layer' : 'layers'} pruned
    </h2>
    <blockquote>
      <b>{prompt}</b>
      {text}
    </blockquote>
  </section>
)

/** The first of what the model wrote to be repaired on. */
export const OwnTextFold = ({ text: { first, windows, seqLen } }: { text: OwnText }) => (
  <details>
    <summary>What the model wrote to be repaired on</summary>
    <p class="hint">
      The first {first.length} of {windows} texts, each of {seqLen} tokens.
    </p>
    {first.map((text, i) => (
      <blockquote key={i}>{text}</blockquote>
    ))}
  </details>
)

const HALVES = { attention: 'attention', ffn: 'FFN' } as const

/** What each half-block that was cut lost of its output: a bar without repair, and one with it. */
export function Errors({ errors }: { errors: readonly HalfError[] }) {
  const largest = Math.max(...errors.map(({ before, after }) => Math.max(before, after)))
  const both = new Set(errors.map(({ half }) => half)).size > 1
  const width = (error: number) => ({ width: `${Math.max(0.5, (100 * error) / largest)}%` })
  return (
    <section class="errors" aria-labelledby="errors">
      <h2 id="errors">What each layer loses</h2>
      <p class="hint">Squared error of its output, as part of the output: as it is cut, and after the repair.</p>
      <table>
        <thead>
          <tr>
            <th scope="col">layer</th>
            <th scope="col">kept</th>
            <th scope="col" class="bars">
              <span class="key cut" /> cut <span class="key repaired" /> repaired
            </th>
            <th scope="col">cut</th>
            <th scope="col">repaired</th>
          </tr>
        </thead>
        <tbody>
          {errors.map(({ layer, half, kept, of, before, after }) => (
            <tr key={`${layer} ${half}`}>
              <th scope="row">
                {layer}
                {both && ` ${HALVES[half]}`}
              </th>
              <td>
                {kept} of {of}
              </td>
              <td class="bars" aria-hidden="true">
                <div class="bar cut" style={width(before)} />
                <div class="bar repaired" style={width(after)} />
              </td>
              <td>{percent(before)}</td>
              <td>{percent(after)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}
