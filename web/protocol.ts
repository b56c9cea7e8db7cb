// What page and worker say to each other. The page asks by name and number; the worker tells how it goes on, and answers or fails once.
import type {
  DivergenceResult,
  Inspection,
  PerplexityResult,
  Plan,
  ProgressEvent,
  ResolvedOptions,
  Sizes,
} from '../src/web.ts'

/** A file with its path from the folder that was chosen or dropped; its own name where it was chosen alone. */
export interface PickedFile {
  readonly path: string
  readonly file: File
}

/** Where matrices are multiplied. `auto`: WebGPU where there is one. */
export type Compute = 'auto' | 'wasm'

/** How a model is to be pruned. */
export interface Settings {
  /** One of both. `size`: bytes of the weights at most. */
  readonly sparsity?: number
  readonly size?: number
  /** As on the command line. */
  readonly method: string
  /** @default the model writes its own */
  readonly texts?: readonly File[]
  readonly windows?: number
  readonly seqLen?: number
  readonly seed?: number
  readonly compute: Compute
}

export interface PlanFacts extends Pick<Plan, 'sparsity' | 'widths' | 'sizes'> {
  /** All that the page will take at its peak, in bytes. */
  readonly memoryBytes: number
  readonly options: Pick<ResolvedOptions, 'windows' | 'seqLen' | 'method' | 'layout'>
  readonly notices: readonly string[]
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
  }
  readonly notices: readonly string[]
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

/** What the page may ask for: what it says, and what it gets. */
export interface Calls {
  /** `tiny`: the model that ships. */
  open: { ask: readonly PickedFile[] | 'tiny'; answer: Inspection }
  plan: { ask: Settings; answer: PlanFacts }
  prune: { ask: Settings; answer: PrunedFacts }
  measure: { ask: { readonly text: string; readonly seqLen: number }; answer: Measured }
  write: { ask: { readonly prompt: string; readonly tokens: number }; answer: Readonly<Record<Side, Speed>> }
  take: { ask: { readonly to: 'gguf' | 'safetensors'; readonly dtype?: string }; answer: File }
}

export type CallName = keyof Calls
export type Ask<N extends CallName = CallName> = Calls[N]['ask']
export type Answer<N extends CallName = CallName> = Calls[N]['answer']

/** What is told while a call is worked on. */
export type Told =
  | Exclude<ProgressEvent, { readonly type: 'selected' | 'text' }>
  | { readonly type: 'errors'; readonly errors: readonly HalfError[] }
  | { readonly type: 'text'; readonly side: Side; readonly text: string }
  | { readonly type: 'engine'; readonly name: string }

export type Request =
  | { readonly id: number; readonly type: 'call'; readonly name: CallName; readonly ask: Ask }
  | { readonly id: number; readonly type: 'stop' }

export type Reply =
  | { readonly id: number; readonly type: 'told'; readonly told: Told }
  | { readonly id: number; readonly type: 'done'; readonly answer: Answer }
  /** `stopped`: because the page asked for it. `ours`: the message says what to do. */
  | {
      readonly id: number
      readonly type: 'failed'
      readonly message: string
      readonly stopped: boolean
      readonly ours: boolean
    }
