// An export target writes a model in another format. `write/targets.ts` lists all targets.
import type { Progress } from '../base/events.ts'
import type { GgufType } from '../formats/gguf-layout.ts'
import type { DType } from '../formats/tensors.ts'
import type { Context } from '../forward/context.ts'
import type { Model } from '../model/model.ts'
import type { Sink } from '../output/sink.ts'
import type { Steps } from '../output/steps.ts'

export interface WriteContext extends Context {
  /** Each tensor is a step. @default none is saved */
  readonly saved?: Steps
}

/** An export, known before any weight is read. */
export interface ExportPlan {
  /** Element type of most weights, one of the target's `dtypes`. */
  readonly dtype: string
  /** Bytes of the files with the weights, as they will be written. */
  readonly bytes: number
  /** What the user should know of it. */
  readonly notices: readonly string[]
  /** What our reader must find in the result, and each tensor's type. A target without it checks its result itself. */
  readonly expected?: {
    readonly model: Model
    readonly types: ReadonlyMap<string, GgufType | DType>
    /** Tensors that are stored plus a number, which their last bits do not survive. */
    readonly sums?: ReadonlyMap<string, number>
  }
  /** Writes all files. Whoever made the sink commits it, or aborts it where this throws. */
  write(sink: Sink, context: WriteContext): Progress<unknown>
}

export interface Target {
  /** Types that may be asked for. */
  readonly dtypes: readonly string[]
  /** The file among those written that stands for the result; none for a folder. */
  readonly file?: string
  /** The type to write where none is asked for. Without this function a target keeps each tensor's own. */
  dtypeFor?(source: Model): string
  /** @throws UnsupportedModelError where the model cannot go there */
  plan(model: Model, dtype: string | undefined): ExportPlan
}
