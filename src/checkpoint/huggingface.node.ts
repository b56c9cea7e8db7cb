// Opens a Hugging Face folder on disk.
import { readdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { FormatError } from '../base/errors.ts'
import { said } from '../base/file-errors.node.ts'
import { openFile } from '../formats/file.node.ts'
import type { Checkpoint } from './checkpoint.ts'
import type { ModelFolder } from './folder.ts'
import { type CheckConfig, huggingFaceCheckpoint } from './huggingface.ts'
import { within } from './time-limit.node.ts'
import { openWeights } from './weights.ts'

/** The folder of Gram matrices in a pruned model's folder, where vLLM would take any `*.safetensors` for weights. */
export const STATISTICS = 'statistics/'

/** @throws FormatError as `huggingFaceCheckpoint` */
export async function openHuggingFace(path: string, checkConfig?: CheckConfig): Promise<Checkpoint> {
  const folder = await modelFolder(path)
  const checkpoint = await huggingFaceCheckpoint(folder, checkConfig)
  const { card } = checkpoint
  const statistics = folder.files.has(STATISTICS)
    ? (await openWeights(await modelFolder(join(path, STATISTICS)))).tensors
    : undefined
  const close = async () => {
    await statistics?.close()
    await checkpoint.close()
  }
  return { ...checkpoint, statistics, card: { ...card, hubId: cachedId(path) ?? card?.hubId }, within, close }
}

/** @throws FormatError where it cannot be read */
export const modelFolder = async (path: string): Promise<ModelFolder> => ({
  name: path,
  files: await entriesOf(path),
  open: file => openFile(join(path, file)),
})

/** Links count as files (the Hub's cache holds links). */
async function entriesOf(folder: string): Promise<Set<string>> {
  try {
    const entries = await readdir(folder, { withFileTypes: true })
    return new Set(entries.map(entry => (entry.isDirectory() ? `${entry.name}/` : entry.name)))
  } catch (cause) {
    const problem = `is no folder that can be read (${said(cause)})`
    throw new FormatError(folder, `${problem}; wanted is a folder with config.json and weights`, { cause })
  }
}

/** The id on the Hub that the name of a folder in its cache says. */
function cachedId(path: string): string | undefined {
  const cached = /models--([\w.-]+?)--([\w.-]+)[/\\]snapshots/.exec(resolve(path))
  return cached ? `${cached[1]}/${cached[2]}` : undefined
}
