// An opened checkpoint: the same interface whether it came from a Hugging Face folder or a GGUF file.
import type { Gguf } from '../formats/gguf-contents.ts'
import type { TensorSource } from '../formats/tensors.ts'

/** A file that goes with the model unchanged: tokenizer, generation config, licence. */
export interface SideFile {
  readonly name: string
  readonly bytes: Uint8Array
}

/** Does synchronous `work`; throws what `tooLate` gives where it has not ended after some seconds. */
export type Within = <T>(seconds: number, work: () => T, tooLate: () => Error) => T

/** What a smaller vocabulary (src/vocabulary) takes away, and what texts become under it. */
export interface VocabularyCut {
  /** Rows of the embedding. */
  readonly tokens: { readonly before: number; readonly after: number }
  /** Weights in the rows that go. */
  readonly parameters: number
  /** Of each text that was kept or is measured on. */
  readonly texts: readonly { readonly name: string; readonly tokensPerWord: { before: number; after: number } }[]
}

/** Published mixtures have up to 512. A list of them is made before any weight is looked at. */
export const MAX_EXPERTS = 2 ** 10

/** Graphs of llama.cpp for dense decoders of LLaMA's kind and their mixtures (gguf-architectures.ts). */
export type GgufArchitecture =
  | 'llama'
  | 'deci'
  | 'qwen2'
  | 'qwen3'
  | 'smollm3'
  | 'gemma3'
  | 'exaone4'
  | 'olmo2'
  | 'phi3'
  | 'mixtral'
  | 'qwen3moe'
  | 'olmoe'
  | 'mistral3'
  | 'glm4'
  | 'granite'
  | 'gptneox'

export interface Checkpoint {
  /** Folder or file, as the user gave it. */
  readonly name: string
  /** Where that is on disk. */
  readonly path?: string
  readonly format: 'huggingface' | 'gguf'
  /** `config.json` as parsed; for a GGUF the config that transformers would have. */
  readonly config: Readonly<Record<string, unknown>>
  /** Tensors by their Hugging Face names (`model.layers.0.mlp.up_proj.weight`, `model.decoder.layers.0.fc1.bias`). */
  readonly tensors: TensorSource
  /** `tokenizer.json` as parsed, synthesised where the source has none. */
  readonly tokenizer: Readonly<Record<string, unknown>>
  /** `tokenizer_config.json` as parsed, or `{}`. */
  readonly tokenizerConfig: Readonly<Record<string, unknown>>
  /** Bounds the time of its tokenizer, whose patterns a stranger wrote. Only Node can. @default no bound */
  readonly within?: Within
  /** Files to copy beside the pruned weights, without `config.json` and weights. Has all that AutoTokenizer needs. */
  readonly sideFiles: readonly SideFile[]
  /** Names of the Python files beside the weights. */
  readonly pythonFiles?: readonly string[]
  /** What the source says of itself, for the model card of the result: its licence, and its id on the Hub. */
  readonly card?: { readonly license?: string; readonly hubId?: string }
  /** Metadata and types of the GGUF file that this is, or was pruned from, for writing another one. */
  readonly gguf?: Pick<Gguf, 'metadata' | 'rawValue' | 'rawBytes' | 'tensors'>
  /** `fasp.json` of a folder that we wrote, as parsed. */
  readonly recipe?: Readonly<Record<string, unknown>>
  /** Gram matrices of a pruned model's linear inputs, by the layer or the first layer that reads the same. */
  readonly statistics?: TensorSource
  /** What it has lost of its vocabulary in memory. */
  readonly vocabulary?: VocabularyCut
  /** Bytes of the files with the weights. */
  readonly weightBytes: number
  close(): Promise<void>
}

/** Closed by `close`, or where `await using` is left. */
export type OpenCheckpoint = Checkpoint & AsyncDisposable

export const disposable = (checkpoint: Checkpoint): OpenCheckpoint => ({
  ...checkpoint,
  [Symbol.asyncDispose]: () => checkpoint.close(),
})

export const textFile = (name: string, text: string): SideFile => ({ name, bytes: new TextEncoder().encode(text) })

/** A JSON file, indented as transformers writes it. */
export const jsonFile = (name: string, value: unknown): SideFile => ({
  name,
  get bytes() {
    return textFile(name, `${JSON.stringify(value, null, 2)}\n`).bytes // when asked for: a tokenizer has megabytes
  },
})

/** The id on the Hub that a text is, or undefined. */
export const hubId = (text: unknown): string | undefined =>
  typeof text === 'string' ? /^(?:https:\/\/huggingface\.co\/)?([\w-][\w.-]*\/[\w.-]+)$/.exec(text)?.[1] : undefined
