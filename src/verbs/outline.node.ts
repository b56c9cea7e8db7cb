// What `fasp inspect` says of a model that is not supported.
import { stat } from 'node:fs/promises'
import { finish } from '../base/events.ts'
import { modelFolder } from '../checkpoint/huggingface.node.ts'
import { openWeights } from '../checkpoint/weights.ts'
import { type Outline, outlineOf } from '../evaluate/inspect.ts'
import { openFile } from '../formats/file.node.ts'
import { openGguf } from '../formats/gguf.ts'
import { fetchModel } from '../hub/fetch.node.ts'
import type { OpenOptions } from '../hub/open.node.ts'

/** @param name as in `inspect`, which has fetched it @throws FormatError where its headers cannot be read either */
export async function outline(name: string, options: OpenOptions): Promise<Outline> {
  const path = await finish(fetchModel(name, options))
  const format = (await stat(path)).isDirectory() ? 'huggingface' : 'gguf'
  const { tensors, byteLength } =
    format === 'gguf' ? await openGguf(await openFile(path)) : await openWeights(await modelFolder(path))
  await tensors.close()
  return outlineOf(tensors, { name, format, weightBytes: byteLength })
}
