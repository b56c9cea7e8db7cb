// Opens a .gguf file as a checkpoint: the file handle is here, everything else is browser-safe in `gguf.ts`.
import { openFile } from '../formats/file.node.ts'
import { openGguf } from '../formats/gguf.ts'
import type { Checkpoint } from './checkpoint.ts'
import { ggufCheckpoint } from './gguf.ts'
import { within } from './within.node.ts'

/**
 * Opens a GGUF of a dense LLaMA. Close the checkpoint to release the file.
 * @throws FormatError where the file is missing, damaged or in a form that we do not read
 * @throws UnsupportedModelError for another architecture, tokenizer or rope scaling
 */
export async function openGgufCheckpoint(path: string): Promise<Checkpoint> {
  const source = await openFile(path)
  try {
    return { ...(await ggufCheckpoint(await openGguf(source), path)), within }
  } catch (error) {
    await source.close?.()
    throw error
  }
}
