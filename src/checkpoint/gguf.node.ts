// Opens a .gguf file on disk.
import { openFile } from '../formats/file.node.ts'
import type { Checkpoint } from './checkpoint.ts'
import { openGgufSource } from './gguf.ts'
import { within } from './time-limit.node.ts'

/** Opens a GGUF file; closing the checkpoint releases it. @throws FormatError, UnsupportedModelError */
export const openGgufCheckpoint = async (path: string): Promise<Checkpoint> => ({
  ...(await openGgufSource(await openFile(path))),
  within,
})
