// Opens a .gguf file on disk.
import { openFile } from '../formats/file.node.ts'
import type { Checkpoint } from './checkpoint.ts'
import { ggufCheckpoint } from './gguf.ts'
import { within } from './within.node.ts'

/** Opens a GGUF of a dense LLaMA. Close the checkpoint to release the file. @throws FormatError, UnsupportedModelError as `ggufCheckpoint` */
export const openGgufCheckpoint = async (path: string): Promise<Checkpoint> => ({
  ...(await ggufCheckpoint(await openFile(path))),
  within,
})
