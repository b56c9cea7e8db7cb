// What long-running functions tell while they work. They never print; the command line shows events.

export type Phase =
  | 'download'
  | 'read text'
  | 'calibration text'
  | 'allocate'
  | 'prune'
  | 'write'
  | 'evaluate'
  | 'evaluate dense'
  | 'evaluate pruned'
  | 'dense probabilities'
  | 'heal'
  | 'tasks'
  | 'continuations'
  | 'upload'
  | 'export'
  | 'verify'
  | 'speed'

/** What a phase counts. */
export type Unit = 'layers' | 'tokens' | 'bytes' | 'characters' | 'tensors' | 'turns' | 'files'

/** Of `LayerResult` what there is to show while a model is pruned. */
export type PrunedLayer = Readonly<
  Partial<Record<'attention' | 'ffn', Readonly<{ kept: readonly number[]; errorBefore: number; errorAfter: number }>>>
>

export type ProgressEvent =
  /** A phase has begun. `total` counts what its `progress` events count. */
  | {
      readonly type: 'phase'
      readonly phase: Phase
      readonly total: number
      readonly unit: Unit
    }
  /** Of phase `prune` with `layer`: what the last layer that stays lost, without and with repair. */
  | { readonly type: 'progress'; readonly done: number; readonly tokens?: number; readonly layer?: PrunedLayer }
  /** Run `number` of `total` of a comparison has begun. `secondsLeft`: of all runs left, judged by runs before. */
  | {
      readonly type: 'run'
      readonly name: string
      readonly sparsity: number
      readonly number: number
      readonly total: number
      readonly secondsLeft?: number
    }
  /** Calibration tokens and held-out tokens are known: read, or written by the model. */
  | {
      readonly type: 'windows'
      readonly seqLen: number
      /** Each [seqLen]. */
      readonly windows: readonly Int32Array[]
      readonly heldOut?: readonly Int32Array[]
    }
  /** The columns of one output layer (`half`: its name) are chosen. Scores are of neurons, or of value rows. */
  | {
      readonly type: 'selected'
      readonly half: string
      readonly scores: Float64Array
      readonly kept: Int32Array
    }
  /** While a model is healed: KL to the dense model on held-out windows, nats a token, after `step` of `steps`. */
  | { readonly type: 'divergence'; readonly step: number; readonly steps: number; readonly kl: number }
  /** What a model has written since the last. */
  | { readonly type: 'text'; readonly text: string }
  /** Something that the user should know and that is no error. */
  | { readonly type: 'notice'; readonly message: string }

/** A long-running function yields events while it works, and returns a result of type `T`. */
export type Progress<T> = AsyncGenerator<ProgressEvent, T>

export interface Listener {
  /** Hears how the work goes on, which waits for what it returns. Where it throws, the work ends. */
  readonly onEvent?: (event: ProgressEvent) => unknown
}

export const notice = (message: string) => ({ type: 'notice', message }) as const

/** What a generator returns. */
export async function finish<E, T>(events: AsyncGenerator<E, T>, onEvent?: (event: E) => unknown): Promise<T> {
  try {
    for (;;) {
      const step = await events.next()
      if (step.done) return step.value
      await onEvent?.(step.value)
    }
  } finally {
    await events.return(undefined as T) // where `onEvent` throws; does nothing after an end
  }
}

/** Parameters of a verb, of which the last are options, with a listener. */
type Listening<A extends readonly unknown[]> = A extends readonly [...infer First, infer Options]
  ? [...First, options: Options & Listener]
  : A extends readonly [...infer First, (infer Options)?]
    ? [...First, options?: Options & Listener]
    : never

/** The promise of a verb that is a generator: each verb of the public API is both. */
export const promised =
  <A extends readonly unknown[], T>(verb: (...args: A) => AsyncGenerator<ProgressEvent, T>) =>
  (...args: Listening<A>): Promise<T> => {
    const last = args.at(-1) as Listener | null | undefined
    if (typeof last?.onEvent !== 'function') return finish(verb(...(args as unknown as A)))
    const { onEvent, ...options } = last // results have the options that were given, which a listener is not
    return finish(verb(...([...args.slice(0, -1), options] as unknown as A)), onEvent)
  }

/** Name of the channel (nodejs.org/api/diagnostics_channel.html) that says what a user waits for. */
export const FETCHING = 'fasp:fetching'
