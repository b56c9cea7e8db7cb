// Weights of an output that is not in its place yet.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { ByteSource } from '../base/bytes.ts'
import { isGgufFile } from '../base/display.ts'
import { openFile } from '../formats/file.node.ts'
import { pendingOf } from '../output/place.node.ts'
import { PRUNED } from './prune-heal.node.ts'

/** The file of weights that a run of this process writes for `output`, for `writeSoFar`. Undefined before it is there. */
export async function pendingWeights(output: string): Promise<ByteSource | undefined> {
  const pending = await pendingOf(output)
  const path = pending && join(pending, isGgufFile(output) ? PRUNED : '', 'model.safetensors')
  return path && existsSync(path) ? openFile(path) : undefined
}
