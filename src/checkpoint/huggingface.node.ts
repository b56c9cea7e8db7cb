// Opens a Hugging Face folder: config, tokenizer, files to copy, lazy weights. First stage of the pipeline.
// Layout: transformers, `save_pretrained`; `vocab.json` + `merges.txt` alone as on facebook/opt-*.
import { readdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { FormatError } from '../errors.ts'
import { readSmallFile } from '../formats/file.node.ts'
import { type JsonObject, parseJsonObject } from '../formats/json.ts'
import { byteLevelBpe } from './byte-level-bpe.ts'
import { type Checkpoint, hubId, jsonFile, type SideFile } from './checkpoint.ts'
import { openWeights } from './weights.node.ts'
import { within } from './within.node.ts'

/** The largest `tokenizer.json` have some 40 MB. */
const MAX_SIDE_FILE_BYTES = 64 * 2 ** 20

const SIDE_FILES = new Set([
  'tokenizer.json',
  'tokenizer.model',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'chat_template.jinja',
  'chat_template.json',
  'generation_config.json',
])
const LICENCE_FILES = /^(LICENSE|NOTICE|USE_POLICY)/i

/** Whether a file goes with the model: tokenizer, generation config, licence. */
export const isSideFile = (name: string): boolean => SIDE_FILES.has(name) || LICENCE_FILES.test(name)

/** Classes whose `vocab.json` and `merges.txt` are byte-level BPE with GPT-2's pattern. Others (Qwen2, CLIP) split differently. */
const GPT2_CLASSES: readonly unknown[] = ['GPT2Tokenizer', 'GPT2TokenizerFast']
const GPT2_MODELS: readonly unknown[] = ['opt', 'gpt2']

/**
 * Opens a folder as `save_pretrained` writes it. Tensor names are those of the whole model (`model.…`, `lm_head.weight`).
 * @throws FormatError where a file is missing or malformed; the message names it.
 */
export async function openHuggingFace(folder: string): Promise<Checkpoint> {
  const files = await listFiles(folder)
  if (!files.has('config.json')) {
    throw new FormatError(
      folder,
      'has no config.json; wanted is a folder as save_pretrained or `hf download` writes it',
    )
  }
  const config = await readJson(folder, 'config.json')
  const sideFiles = await readSideFiles(folder, files)
  const side = (name: string) => sideFiles.find(file => file.name === name)?.bytes
  const optional = (name: string): JsonObject => {
    const bytes = side(name)
    return bytes === undefined ? {} : parseJsonObject(bytes, join(folder, name))
  }
  const tokenizerConfig = optional('tokenizer_config.json')
  const tokenizer = side('tokenizer.json') ? optional('tokenizer.json') : synthesise()
  const card = { license: await readLicense(folder, files), hubId: hubIdOf(folder, config) }
  const recipe = files.has('fasp.json') ? await readJson(folder, 'fasp.json') : undefined
  const { tensors, byteLength } = await openWeights(folder, files)
  return {
    name: folder,
    format: 'huggingface',
    pythonFiles: [...files].filter(name => name.endsWith('.py')),
    config,
    tensors,
    tokenizer,
    card,
    recipe,
    tokenizerConfig,
    within,
    sideFiles: side('tokenizer.json') ? sideFiles : [...sideFiles, jsonFile('tokenizer.json', tokenizer)],
    weightBytes: byteLength,
    close: () => tensors.close(),
  }

  function synthesise(): JsonObject {
    const merges = side('merges.txt')
    const gpt2 = GPT2_CLASSES.includes(tokenizerConfig.tokenizer_class) || GPT2_MODELS.includes(config.model_type)
    if (!side('vocab.json') || !merges || !gpt2) {
      const older = 'or, for OPT and GPT-2 tokenizers, vocab.json and merges.txt'
      const remedy = "transformers writes it: AutoTokenizer.from_pretrained('…').save_pretrained('…')"
      throw new FormatError(folder, `has no tokenizer that we read: wanted is tokenizer.json, ${older}. ${remedy}`)
    }
    return byteLevelBpe({
      folder,
      vocab: optional('vocab.json'),
      merges: new TextDecoder().decode(merges),
      tokenizerConfig,
      specialTokensMap: optional('special_tokens_map.json'),
      addedTokens: optional('added_tokens.json'),
      modelType: config.model_type,
    })
  }
}

/** Names of the files in the folder, links included (the Hub's cache holds links). */
async function listFiles(folder: string): Promise<Set<string>> {
  try {
    const entries = await readdir(folder, { withFileTypes: true })
    return new Set(entries.filter(entry => !entry.isDirectory()).map(entry => entry.name))
  } catch (cause) {
    throw new FormatError(folder, 'is no folder that can be read; wanted is a folder with config.json and weights', {
      cause,
    })
  }
}

async function readSideFiles(folder: string, files: ReadonlySet<string>): Promise<SideFile[]> {
  const names = [...files].filter(isSideFile).sort()
  const read: SideFile[] = []
  for (const name of names) read.push({ name, bytes: await readSmall(folder, name) })
  return read
}

/** Licence from the YAML at the top of the model card. Source: hub-docs, model-cards. */
async function readLicense(folder: string, files: ReadonlySet<string>): Promise<string | undefined> {
  if (!files.has('README.md')) return undefined
  const text = new TextDecoder().decode(await readSmall(folder, 'README.md'))
  const yaml = /^---\r?\n([\s\S]*?)\r?\n---/.exec(text)?.[1] ?? ''
  return /^license: *["']?([\w.-]+)["']? *$/m.exec(yaml)?.[1]
}

/** The id on the Hub: as transformers notes it in the config, or from the name of a folder in the Hub's cache. */
function hubIdOf(folder: string, config: JsonObject): string | undefined {
  const cached = /models--([\w.-]+?)--([\w.-]+)[/\\]snapshots/.exec(resolve(folder))
  return cached ? `${cached[1]}/${cached[2]}` : hubId(config._name_or_path)
}

const readJson = async (folder: string, name: string): Promise<JsonObject> =>
  parseJsonObject(await readSmall(folder, name), join(folder, name))

const readSmall = (folder: string, name: string): Promise<Uint8Array> =>
  readSmallFile(join(folder, name), MAX_SIDE_FILE_BYTES)
