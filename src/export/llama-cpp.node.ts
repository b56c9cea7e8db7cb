// llama.cpp, through node-llama-cpp, as `--verify` runs it on a GGUF file.
import type { Engine } from '../engine/engine.ts'
import type { Model } from '../model/model.ts'
import { allowedFor } from './agreement.ts'
import { type Runtime, verifyIn } from './runtime.node.ts'

export const LLAMA_CPP: Runtime = {
  name: 'llama.cpp',
  package: 'node-llama-cpp',
  child: new URL('./llama-cpp-child.js', import.meta.url),
  bare: true,
}

/** @param model the file as our own reader has it @returns what to tell the user @throws OutputError as `verifyIn` */
export const verifyInLlamaCpp = async (path: string, dtype: string, model: Model, engine: Engine) => [
  await verifyIn(LLAMA_CPP, [path], model, engine, allowedFor(dtype)),
]
