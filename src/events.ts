// What the long-running functions tell while they work. They never print; the command line turns these into lines and bars.

export type Phase =
  | 'download'
  | 'calibration text'
  | 'allocate'
  | 'prune'
  | 'write'
  | 'evaluate'
  | 'evaluate dense'
  | 'evaluate pruned'
  | 'tasks'
  | 'continuations'
  | 'upload'
  | 'export'
  | 'verify'
  | 'speed'

/** What a phase counts. */
export type Unit = 'layers' | 'tokens' | 'bytes' | 'tensors' | 'turns'

export type ProgressEvent =
  /** A phase has begun. `total` counts what its `progress` events count. */
  | {
      readonly type: 'phase'
      readonly phase: Phase
      readonly total: number
      readonly unit: Unit
    }
  | { readonly type: 'progress'; readonly done: number; readonly tokens?: number }
  /** A run of a comparison has begun, number `number` of `total`. `secondsLeft`: for all that are left, where runs before tell. */
  | {
      readonly type: 'run'
      readonly name: string
      readonly sparsity: number
      readonly number: number
      readonly total: number
      readonly secondsLeft?: number
    }
  /** The columns of one output layer (`half`: its name) are chosen. Scores are of neurons, or of value rows. */
  | {
      readonly type: 'selected'
      readonly half: string
      readonly scores: Float64Array
      readonly kept: Int32Array
    }
  /** Something that the user should know and that is no error. */
  | { readonly type: 'notice'; readonly message: string }

/** What a generator returns, where its events are of no use. */
export async function finish<T>(events: AsyncGenerator<unknown, T>): Promise<T> {
  for (;;) {
    const step = await events.next()
    if (step.done) return step.value
  }
}
