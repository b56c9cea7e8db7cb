// From what a user calls a model to an open checkpoint: a folder, a .gguf file, or a name on the Hub.
import { stat } from 'node:fs/promises'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { openGgufCheckpoint } from '../checkpoint/gguf.node.ts'
import { openHuggingFace } from '../checkpoint/huggingface.node.ts'
import { FormatError } from '../errors.ts'
import { finish, type ProgressEvent } from '../events.ts'
import { fetchModel } from './fetch.node.ts'

/** Closed by `close`, or where `await using` is left. */
export type OpenCheckpoint = Checkpoint & AsyncDisposable

export interface OpenOptions {
  readonly signal?: AbortSignal
}

/**
 * Opens a Hugging Face folder, a `.gguf` file, or a model on the Hub (`org/name`, see `fetchModel`), which is fetched first.
 * @throws FormatError, UnsupportedModelError, HubError
 */
export function openCheckpoint(path: string, options?: OpenOptions): Promise<OpenCheckpoint> {
  return finish(openModel(path, options))
}

/** `openCheckpoint` that tells how the download goes. */
export async function* openModel(path: string, options?: OpenOptions): AsyncGenerator<ProgressEvent, OpenCheckpoint> {
  const local = yield* fetchModel(path, options)
  if ((await stat(local)).isDirectory()) return opened(await openHuggingFace(local), path)
  if (local.toLowerCase().endsWith('.gguf')) return opened(await openGgufCheckpoint(local), path)
  throw new FormatError(path, 'is a file, but not a .gguf. Give the folder that holds config.json, or a .gguf file.')
}

const opened = (checkpoint: Checkpoint, name: string): OpenCheckpoint => ({
  ...checkpoint,
  name,
  [Symbol.asyncDispose]: () => checkpoint.close(),
})
