// llama.cpp, through node-llama-cpp, as `--verify` and `fasp bench` run it on a GGUF file.
import type { Context } from '../../forward/context.ts'
import { expertsOf } from '../../model/architecture.ts'
import type { Model } from '../../model/model.ts'
import { allowedFor } from './agreement.ts'
import { ask, type Runtime, verifyIn } from './runtime.node.ts'

export const LLAMA_CPP: Runtime = {
  name: 'llama.cpp',
  package: 'node-llama-cpp',
  child: new URL('./llama-cpp-child.js', import.meta.url),
  bare: true,
}

/** @param model the file as our own reader has it @returns what to tell the user @throws OutputError as `verifyIn` */
export const verifyInLlamaCpp = async (context: Context, model: Model, path: string, dtype: string) => [
  await verifyIn(context, model, LLAMA_CPP, [path], allowedFor(dtype, expertsOf(model.architecture) > 0)),
]

/** What the child process reads instead of a `RuntimeRequest` where it is to tell the speed. */
export interface SpeedRequest {
  /** The prompt. */
  readonly ids: readonly number[]
  /** How many tokens are to follow, one by one. */
  readonly after: number
  /** @default the runtime's own */
  readonly threads?: number
}

/** Seconds of the prompt, and of the tokens after it. */
export interface SpeedAnswer {
  readonly prefill: number
  readonly decode: number
}

/** Times a GGUF file after a turn that warms up. @param name for errors @throws OutputError where llama.cpp fails */
export const timeInLlamaCpp = async (
  library: string,
  { path, name }: { readonly path: string; readonly name: string },
  request: SpeedRequest,
  signal?: AbortSignal,
) => (await ask(LLAMA_CPP, library, [path], request, { what: name, signal })) as SpeedAnswer
