// A GGUF file as a checkpoint. Called by the openers (gguf.node.ts, open.web.ts).
import type { ByteSource } from '../formats/bytes.ts'
import { openGguf } from '../formats/gguf.ts'
import type { Checkpoint } from './checkpoint.ts'
import { ggufLlamaCheckpoint } from './gguf-llama.ts'

/**
 * The checkpoint in a file, which is closed with it, or where this throws.
 * @throws FormatError where the file is damaged or in a form that we do not read
 * @throws UnsupportedModelError for anything but a dense LLaMA, another tokenizer or rope scaling
 */
export async function ggufCheckpoint(file: ByteSource): Promise<Checkpoint> {
  try {
    return await ggufLlamaCheckpoint(await openGguf(file), file.name)
  } catch (error) {
    await file.close?.()
    throw error
  }
}
