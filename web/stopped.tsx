// Step 1: runs that were stopped, to go on with or to remove: jobs of `fasp ui`, or runs on the browser's disk.
import { bytes, percent } from '../src/base/display.ts'
import type { KeptRun, LocalState, Settings, StoppedOrder } from '../src/page/protocol.ts'
import type { Inspection } from '../src/web.ts'
import type { Call, CallOptions } from './client.ts'
import { nameOf } from './local.tsx'
import { Doing, useTask } from './progress.tsx'

interface Props {
  readonly call: Call
  readonly stopped: readonly StoppedOrder[]
  readonly setStopped: (stopped: readonly StoppedOrder[]) => void
  /** That is open. */
  readonly model: Inspection | undefined
  readonly opened: (model: Inspection) => void
  /** Goes on where a job is. */
  readonly adopt: (state: LocalState) => void
}

export function StoppedRuns({ call, stopped, setStopped, model, opened, adopt }: Props) {
  const task = useTask()
  const { run, busy } = task
  if (stopped.length === 0) return null
  const local = stopped.every(({ kept }) => kept === undefined)

  /** Opens the model once more, where the page can. */
  async function reopen({ model: name, kept }: StoppedOrder, options: CallOptions): Promise<void> {
    if (!kept || (model?.name === name && kept.origin !== 'tiny')) return
    if (kept.origin === 'files')
      throw new Error(`Give ${name} first: drop or choose its files below. Then go on with its run.`)
    if (kept.origin === 'tiny') return opened(await call('open', 'tiny'))
    opened(await call('open', await call('fetch', kept.origin, options)))
  }
  const goOn = (order: StoppedOrder) =>
    run(async options => {
      await reopen(order, options)
      adopt(await call('resume', order.id))
    })
  const discard = (id: string) => run(async () => setStopped((await call('discard', id)).stopped))
  return (
    <section class="stopped" aria-labelledby="stopped">
      <h2 id="stopped">Stopped before its end</h2>
      <p class="hint">
        What was done is kept {local ? 'beside the output' : 'on the disk that this browser gives the page'}. Going on
        gives the same bytes as a run that was never stopped.
      </p>
      <ul>
        {stopped.map(order => (
          <li key={order.id}>
            {order.kept ? (
              <RunOfPage {...order} kept={order.kept} />
            ) : (
              <p>
                <b>{nameOf(order.model)}</b>, {amountOf(order.settings)}
                <small>into {order.output}</small>
              </p>
            )}
            <div class="buttons">
              <button type="button" class="primary" disabled={busy} onClick={() => goOn(order)}>
                Go on
              </button>
              <button type="button" disabled={busy} onClick={() => discard(order.id)}>
                {order.kept ? 'Remove it' : 'Discard'}
              </button>
            </div>
          </li>
        ))}
      </ul>
      <Doing {...task} />
    </section>
  )
}

const RunOfPage = ({ model, settings, kept }: StoppedOrder & { kept: KeptRun }) => (
  <p>
    An unfinished run of <b>{model}</b> (layer {kept.done} of {kept.layers}), {amountOf(settings)}
    <small>
      Begun {new Date(kept.begun).toLocaleString()}; it takes {bytes(kept.bytes)} of disk. {givenBy(kept)}
    </small>
  </p>
)

const givenBy = ({ origin, modelBytes }: KeptRun): string =>
  origin === 'tiny'
    ? ''
    : origin === 'files'
      ? `The model must be given once more: drop or choose its files (${bytes(modelBytes)}) below, then go on.`
      : `The model is fetched once more: ${bytes(modelBytes)} of ${origin.id}. ` +
        'Where that takes a token, fetch it below, then go on.'

const amountOf = ({ sparsity, size, method }: Settings): string =>
  `${size === undefined ? percent(sparsity ?? 0) : `to ${size / 1e6} MB`}${method ? ` by ${method}` : ''}`
