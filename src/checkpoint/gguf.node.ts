// Opens a .gguf file on disk.

import { openFile } from '../formats/file.node.ts'
import type { Checkpoint } from './checkpoint.ts'
import { openGgufSource } from './gguf.ts'
import { within } from './time-limit.node.ts'

/** Opens a GGUF of a dense model. Close the checkpoint to release the file. @throws FormatError, UnsupportedModelError as `openGgufSource` */
export const openGgufCheckpoint = async (path: string): Promise<Checkpoint> => ({
  ...(await openGgufSource(await openFile(path))),
  within,
})
