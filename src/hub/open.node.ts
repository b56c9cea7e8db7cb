// From what a user calls a model to an open checkpoint: a folder, a .gguf file, or a name on the Hub.
import { FormatError } from '../base/errors.ts'
import { type Progress, promised } from '../base/events.ts'
import { disposable, type OpenCheckpoint } from '../checkpoint/checkpoint.ts'
import { openGgufCheckpoint } from '../checkpoint/gguf.node.ts'
import { openHuggingFace } from '../checkpoint/huggingface.node.ts'
import { statAt } from '../formats/file.node.ts'
import { architectureOf } from '../model/model.ts'
import { fetchModel } from './fetch.node.ts'

export interface OpenOptions {
  readonly signal?: AbortSignal
}

/**
 * Opens a Hugging Face folder, a `.gguf` file, or a model on the Hub (`org/name`), which is fetched first.
 * @throws FormatError, UnsupportedModelError, HubError
 */
export const openCheckpoint = promised(openCheckpointEvents)

export async function* openCheckpointEvents(path: string, options?: OpenOptions): Progress<OpenCheckpoint> {
  const local = yield* fetchModel(path, options)
  if ((await statAt(local))?.isDirectory())
    return disposable({ ...(await openHuggingFace(local, architectureOf)), name: path, path: local })
  if (local.toLowerCase().endsWith('.gguf'))
    return disposable({ ...(await openGgufCheckpoint(local)), name: path, path: local })
  throw new FormatError(path, 'is a file, but not a .gguf. Give the folder that holds config.json, or a .gguf file.')
}
