// A Hugging Face folder as a checkpoint: config, tokenizer, files to copy, lazy weights.
// Layout: transformers, `save_pretrained`; `vocab.json` and `merges.txt` alone as on facebook/opt-*.
import { readWhole } from '../base/bytes.ts'
import { FormatError } from '../base/errors.ts'
import { type JsonObject, parseJsonObject } from '../base/json.ts'
import type { TensorSource } from '../formats/tensors.ts'
import { byteLevelBpe } from './byte-level-bpe.ts'
import { type Checkpoint, hubId, jsonFile, type SideFile } from './checkpoint.ts'
import type { ModelFolder } from './folder.ts'
import { MIXTRAL_LAYER, MIXTURE_LAYER } from './gguf-names.ts'
import { openWeights, WEIGHT_FILES } from './weights.ts'

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
const LICENCE_FILES = /^(LICENSE|NOTICE|USE_POLICY)[^/]*$/i

/** Whether a file goes with the model: tokenizer, generation config, licence. */
export const isSideFile = (name: string): boolean => SIDE_FILES.has(name) || LICENCE_FILES.test(name)

/** What to ask for where a folder cannot be listed. Licences have the names that most have. */
export const USUAL_FILES = [
  ...['config.json', 'README.md', 'fasp.json', 'LICENSE', 'LICENSE.txt', 'LICENSE.md', 'NOTICE', 'USE_POLICY.md'],
  ...[...SIDE_FILES, ...WEIGHT_FILES],
]

/** Classes whose `vocab.json` and `merges.txt` are byte-level BPE with GPT-2's pattern. Others split differently. */
const GPT2_CLASSES: readonly unknown[] = ['GPT2Tokenizer', 'GPT2TokenizerFast']
const GPT2_MODELS: readonly unknown[] = ['opt', 'gpt2']

/** Refuses an unsupported model before its other files are read. @param config as parsed @param tensors say more */
export type CheckConfig = (name: string, config: JsonObject, tensors?: TensorSource) => unknown

/** Opens a folder; tensors have the names of the whole model. @throws FormatError for a file that is missing or bad */
export async function huggingFaceCheckpoint(folder: ModelFolder, checkConfig?: CheckConfig): Promise<Checkpoint> {
  const { name, files } = folder
  if (!files.has('config.json')) {
    throw new FormatError(name, 'has no config.json; wanted is a folder as save_pretrained or `hf download` writes it')
  }
  const config = await readJson(folder, 'config.json')
  try {
    checkConfig?.(name, config)
  } catch (error) {
    const { tensors } = await openWeights(folder).catch(() => {
      throw error
    })
    try {
      checkConfig!(name, config, tensors)
    } finally {
      await tensors.close()
    }
  }
  const sideFiles = await readSideFiles(folder)
  const side = (name: string) => sideFiles.find(file => file.name === name)?.bytes
  const optional = (file: string): JsonObject => {
    const bytes = side(file)
    return bytes === undefined ? {} : parseJsonObject(bytes, `${name}/${file}`)
  }
  const tokenizerConfig = optional('tokenizer_config.json')
  const tokenizer = side('tokenizer.json') ? optional('tokenizer.json') : synthesise()
  const card = { license: await readLicense(folder), hubId: hubId(config._name_or_path) }
  const recipe = files.has('fasp.json') ? await readJson(folder, 'fasp.json') : undefined
  const mixture = config.model_type === 'mixtral' ? MIXTRAL_LAYER : MIXTURE_LAYER
  const { tensors, byteLength } = await openWeights(folder, mixture)
  return {
    name,
    format: 'huggingface',
    pythonFiles: [...files].filter(name => name.endsWith('.py')),
    config,
    tensors,
    tokenizer,
    card,
    recipe,
    tokenizerConfig,
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
      throw new FormatError(name, `has no tokenizer that we read: wanted is tokenizer.json, ${older}. ${remedy}`)
    }
    return byteLevelBpe({
      folder: name,
      vocab: optional('vocab.json'),
      merges: new TextDecoder().decode(merges),
      tokenizerConfig,
      specialTokensMap: optional('special_tokens_map.json'),
      addedTokens: optional('added_tokens.json'),
      modelType: config.model_type,
    })
  }
}

async function readSideFiles(folder: ModelFolder): Promise<SideFile[]> {
  const names = [...folder.files].filter(isSideFile).sort()
  const read: SideFile[] = []
  for (const name of names) read.push({ name, bytes: await readSmall(folder, name) })
  return read
}

/** Licence from the YAML at the top of the model card. Source: hub-docs, model-cards. */
async function readLicense(folder: ModelFolder): Promise<string | undefined> {
  if (!folder.files.has('README.md')) return undefined
  const text = new TextDecoder().decode(await readSmall(folder, 'README.md'))
  const yaml = /^---\r?\n([\s\S]*?)\r?\n---/.exec(text)?.[1] ?? ''
  return /^license: *["']?([\w.-]+)["']? *$/m.exec(yaml)?.[1]
}

const readJson = async (folder: ModelFolder, name: string): Promise<JsonObject> => {
  const file = await folder.open(name)
  return parseJsonObject(await readWhole(file, MAX_SIDE_FILE_BYTES), file.name)
}

const readSmall = async (folder: ModelFolder, name: string): Promise<Uint8Array> =>
  readWhole(await folder.open(name), MAX_SIDE_FILE_BYTES)
