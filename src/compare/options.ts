// What is compared on what, as `compare` takes it.
import type { EngineOptions } from '../engine/engine.ts'
import type { PruneOptions } from '../options/options.ts'

export interface CompareOptions extends Pick<PruneOptions, 'seed' | 'products'> {
  /** The result file (src/report/result-file.ts). One that this comparison began is completed. */
  readonly output: string
  /** As `prune` takes them: `best`, `best:alpha=0.25`. */
  readonly methods: readonly string[]
  /** Each above 0, up to 0.9. */
  readonly sparsity: readonly number[]
  /**
   * Besides each pruned model the same one healed on so many tokens of the calibration texts, or on as many as `heal` takes by itself where `true`:
   * runs of their own, one for each number. @default none is healed
   */
  readonly heal?: number | boolean | readonly number[]
  /** Largest rate of healing. @default 0.0001, lora 0.001, or less if that harms */
  readonly lr?: number
  /** Text files for perplexity, KL and agreement. @default none where there are tasks; else 32 windows that the model writes itself */
  readonly text?: readonly string[]
  /** Tokens per window of the texts. @default 1024, or the context */
  readonly seqLen?: number
  /** The first so many windows of each text: one number for all, or one for each. @default all */
  readonly textWindows?: number | readonly number[]
  /** Zero-shot tasks (docs/tasks.md). @default none */
  readonly tasks?: readonly string[]
  /** Folders with the items of tasks. @default from the Hub */
  readonly tasksData?: readonly string[]
  /** The first so many items of each task. @default all */
  readonly limit?: number
  /** Text files to calibrate on. @default self, which the model writes */
  readonly calibration?: readonly string[]
  /** Calibration windows. @default 32, self-written 64 */
  readonly windows?: number
  /** Tokens per calibration window. @default as seq-len, if given */
  readonly calibrationSeqLen?: number
  /** GiB of memory for activations. @default 1, where models are healed 4 */
  readonly memory?: number
  /** Prompts that each model continues. @default `SAMPLE_PROMPTS` */
  readonly prompts?: readonly string[]
  /** Replace a result of another comparison. @default false */
  readonly overwrite?: boolean
  /** What multiplies, and where. @default this machine's CPU */
  readonly engine?: EngineOptions
  readonly signal?: AbortSignal
}
