// What the page asks, and what its workers (web/serve.ts) or `fasp ui` (server.node.ts) say: both tell how it goes on,
// and answer or fail once.
import type { ProgressEvent } from '../base/events.ts'
import type {
  DivergenceResult,
  HubModel,
  HubOrigin,
  HubRepo,
  Inspection,
  PerplexityResult,
  Plan,
  PruneOptions,
  ResolvedOptions,
  Sizes,
  SoFar,
  VocabularyCut,
} from '../index.ts'
import type { PageOption } from '../options/spec.ts'

/** A file with its path from the folder that was chosen or dropped; its own name where it was chosen alone. */
export interface PickedFile {
  readonly path: string
  readonly file: File
  /** Where it was fetched from. */
  readonly from?: HubOrigin
}

/** Where matrices are multiplied. `auto`: WebGPU where there is one. */
export type Compute = 'auto' | 'wasm'

/** How a model is to be pruned: by the options of `prune` that the page has, one of `sparsity` and `size`, and more. */
export interface Settings extends Pick<PruneOptions, Exclude<PageOption, 'method'>> {
  readonly method?: string
  /** Files of the page; for `fasp ui` what `--calibration` takes. @default the model writes its own */
  readonly texts?: readonly (File | string)[]
  /** Tokens that stay, at most, of those of `texts`. @default the vocabulary is not cut */
  readonly vocabulary?: number
  /** Of the page alone. @default 'auto' */
  readonly compute?: Compute
  /** Of `fasp ui` alone: paths. @default output: a free name beside the model */
  readonly model?: string
  readonly output?: string
}

export interface PlanFacts extends Pick<Plan, 'sparsity' | 'widths' | 'sizes'> {
  /** All that the page will take at its peak, in bytes. */
  readonly memoryBytes: number
  readonly options: Pick<ResolvedOptions, 'windows' | 'seqLen' | 'method' | 'layout'>
  readonly notices: readonly string[]
  /** Tokens, where the vocabulary is cut. */
  readonly vocabulary?: VocabularyCut['tokens']
  /** Of the page alone: work of the run, in FLOPs. */
  readonly flops?: Readonly<Record<'float32' | 'float64', number>>
  /** Of the page alone, where the run takes more than a page may have: what would fit. */
  readonly tooLarge?: TooLarge
  /** Where the result will be, of `fasp ui`. */
  readonly output?: string
}

/** What fits where a choice does not: fewer windows, or texts of the user's, too; nothing where no choice does. */
export interface TooLarge {
  readonly mostBytes: number
  readonly fits?: { readonly windows: number; readonly memoryBytes: number; readonly ownText: boolean }
}

/** The squared output error of a half-block that was cut, over the squared output. */
export interface HalfError {
  readonly layer: number
  readonly half: 'attention' | 'ffn'
  readonly kept: number
  readonly of: number
  readonly before: number
  readonly after: number
}

export interface PrunedFacts {
  readonly sizes: Sizes
  readonly method: string
  readonly sparsity: number
  readonly windows: number
  readonly seqLen: number
  readonly seed: number
  readonly seconds: number
  readonly errors: readonly HalfError[]
  /** Mean loss in nats a token on windows that were held out. */
  readonly heldOut?: {
    readonly dense: number
    readonly pruned: number
    readonly windows: number
    readonly own: boolean
    /** To the model as it was, on the same windows, where that was measured. */
    readonly distance?: Pick<DivergenceResult, 'kl' | 'topAgreement'>
  }
  /** Where the model has written what it was repaired on. */
  readonly ownText?: OwnText
  readonly notices: readonly string[]
  /** Where it is, of `fasp ui`. */
  readonly output?: string
}

/** What a model has written to be repaired on. */
export interface OwnText {
  /** The first windows. */
  readonly first: readonly string[]
  /** All windows. */
  readonly windows: number
  readonly seqLen: number
}

export interface Measured {
  readonly dense: PerplexityResult
  readonly pruned: PerplexityResult
  readonly divergence: DivergenceResult
}

export type Side = 'dense' | 'pruned'

export interface Speed {
  readonly tokens: number
  /** By the median token. */
  readonly tokensPerSecond?: number
}

/** A job of `fasp ui`: what it makes of what. */
export interface Order {
  /** Both paths from the root. */
  readonly model: string
  readonly output: string
  readonly settings: Settings
}

/** A job that was stopped. In the page it has `kept`, no output, and names in place of the paths of model and texts. */
export interface StoppedOrder extends Order {
  readonly id: string
  readonly kept?: KeptRun
}

/** A run of the page that was stopped, on the browser's disk. */
export interface KeptRun {
  /** Milliseconds since 1970. */
  readonly begun: number
  readonly done: number
  readonly layers: number
  /** Of disk. */
  readonly bytes: number
  readonly origin: Origin
  readonly modelBytes: number
}

/** Where a page gets a model from once more: it ships, it is fetched, or its files are given by the user again. */
export type Origin = 'tiny' | HubOrigin | 'files'

/** What `fasp ui` or the browser's disk has when a page opens. In the page a job begins when it is followed. */
export interface LocalState {
  /** The job that runs, or the last that has ended. */
  readonly job?: { readonly inspection: Inspection; readonly order: Order }
  readonly stopped: readonly StoppedOrder[]
}

export interface PushAsk {
  /** `org/name`. */
  readonly id: string
  readonly private: boolean
  /** Files there that are no result of fasp may be replaced. */
  readonly overwrite: boolean
  /** @default of `fasp ui`: that of this machine's user */
  readonly token?: string
  /** Of the page alone: exports that go with it, in folders of their own. */
  readonly beside?: readonly { readonly to: 'gguf' | 'onnx'; readonly dtype?: string }[]
}

/** What is in the Hub now. */
export interface Pushed {
  /** Page of the commit. */
  readonly url: string
  readonly files: number
  readonly bytes: number
}

/** What the page may ask for: what it says, and what it gets. */
export interface Calls {
  /** `tiny`: the model that ships. */
  open: { ask: readonly PickedFile[] | 'tiny' | { readonly path: string }; answer: Inspection }
  plan: { ask: Settings; answer: PlanFacts }
  // Of the page alone. How fast its engine multiplies, in 10⁹ FLOPs a second:
  rate: { ask: Compute; answer: Readonly<Record<'float32' | 'float64', number>> }
  // And the Hub:
  search: { ask: { readonly words: string; readonly token?: string }; answer: readonly HubModel[] }
  look: { ask: { readonly id: string; readonly token?: string }; answer: HubRepo }
  fetch: { ask: HubOrigin & { readonly token?: string }; answer: readonly PickedFile[] }
  // Of both:
  prune: { ask: Settings; answer: PrunedFacts }
  measure: { ask: { readonly text: string; readonly seqLen: number }; answer: Measured }
  write: { ask: { readonly prompt: string; readonly tokens: number }; answer: Readonly<Record<Side, Speed>> }
  /** What was made, as `fasp prune --report` says it: an HTML page. */
  report: { ask: null; answer: { readonly name: string; readonly html: string } }
  /** `into`: a file that the user has chosen, which it is streamed to; else it comes back. */
  take: {
    ask: { readonly to: 'gguf' | 'safetensors' | 'onnx'; readonly dtype?: string; readonly into?: FileSystemFileHandle }
    answer: { readonly name: string; readonly bytes: number; readonly file?: File }
  }
  /** Sends what was made to the Hub, where it was written as a folder. */
  push: { ask: PushAsk; answer: Pushed }
  state: { ask: null; answer: LocalState }
  /** Of the job that runs, or the last: all that it tells, from its start. */
  follow: { ask: null; answer: PrunedFacts }
  /** Goes on with a job that was stopped, by its id. Then it is to be followed. In the page its model must be open. */
  resume: { ask: string; answer: LocalState }
  /** Removes what a job that was stopped has left. */
  discard: { ask: string; answer: LocalState }
  /** Of `fasp ui` alone: cancels the job that runs. */
  stop: { ask: null; answer: null }
}

export type CallName = keyof Calls
export type Ask<N extends CallName = CallName> = Calls[N]['ask']
export type Answer<N extends CallName = CallName> = Calls[N]['answer']

/** What is told while a call is worked on. */
export type Told =
  | Exclude<ProgressEvent, { readonly type: 'selected' | 'windows' | 'text' }>
  | { readonly type: 'errors'; readonly errors: readonly HalfError[] }
  | { readonly type: 'own text'; readonly text: OwnText }
  | ({ readonly type: 'so far' } & SoFar)
  | { readonly type: 'text'; readonly side: Side; readonly text: string }
  | { readonly type: 'engine'; readonly name: string }
  /** Of a job of `fasp ui`: its paths. */
  | { readonly type: 'job'; readonly model: string; readonly output: string }

export type Request =
  | { readonly id: number; readonly type: 'call'; readonly name: CallName; readonly ask: Ask }
  | { readonly id: number; readonly type: 'stop' }

/** What comes back on a call, the last of it `done` or `failed`. */
export type Said =
  | { readonly type: 'told'; readonly told: Told }
  | { readonly type: 'done'; readonly answer: Answer }
  /** `stopped`: because the page asked for it. `ours`: the message says what to do. */
  | { readonly type: 'failed'; readonly message: string; readonly stopped: boolean; readonly ours: boolean }

/** Of a worker. */
export type Reply = Said & { readonly id: number }
