// The model that is open in a worker.
import { UsageError } from '../src/base/errors.ts'
import { hashBlob } from '../src/base/hash.ts'
import type { Ask, Origin, PickedFile, Settings } from '../src/page/protocol.ts'
import { type Model, openModel, type PlanInPageOptions, withPath } from '../src/web.ts'
import type { ModelFile } from './notes.ts'

/** Where the page is: its scripts, this worker too, are one folder below. */
export const PAGE = new URL('../', globalThis.location.href)
const TINY = 'tiny-llama'
const TINY_FILES = [
  'config.json',
  'generation_config.json',
  'model.safetensors',
  'tokenizer.json',
  'tokenizer_config.json',
]

interface Opened {
  readonly model: Model
  readonly origin: Origin
  readonly picked: readonly PickedFile[]
  /** Made when first asked for: it takes a second a gigabyte. */
  hashed?: Promise<ModelFile[]>
}

let current: Opened | undefined

function last(): Opened {
  if (!current) throw new UsageError('no model is open. Choose one first.')
  return current
}

/** @throws UsageError where the page asks for what is not there yet */
export const opened = (): Model => last().model

export const originOf = (): Origin => last().origin

/** What the model that is open is told from others by. @throws as `opened` */
export function modelFiles(): Promise<ModelFile[]> {
  const of = last()
  of.hashed ??= hashFiles([...of.picked].sort((a, b) => (a.path < b.path ? -1 : 1)))
  return of.hashed
}

/** One after the other: each has a part in memory. */
async function hashFiles(picked: readonly PickedFile[]): Promise<ModelFile[]> {
  const files: ModelFile[] = []
  for (const { path, file } of picked) files.push({ path, size: file.size, sha256: await hashBlob(file) })
  return files
}

/** Closes the one before. */
export async function open(ask: Ask<'open'>): Promise<Model> {
  if (ask !== 'tiny' && 'path' in ask) throw new UsageError('a page opens no paths. Choose the files.')
  const picked = ask === 'tiny' ? await tinyFiles() : ask
  const model = await openModel(
    picked.map(({ file, path }) => withPath(file, path)), // not all browsers send it to a worker
  )
  await current?.model.checkpoint.close()
  current = { model, picked, origin: ask === 'tiny' ? 'tiny' : (picked[0].from ?? 'files') }
  return model
}

const tinyFiles = (): Promise<PickedFile[]> =>
  Promise.all(
    TINY_FILES.map(async name => {
      const answer = await fetch(new URL(`${TINY}/${name}`, PAGE))
      if (!answer.ok) throw new UsageError(`${TINY}/${name} is not beside this page (status ${answer.status}).`)
      return { path: `${TINY}/${name}`, file: new File([await answer.blob()], name) }
    }),
  )

/** What `prune` takes of the settings. */
export function optionsOf(settings: Settings): PlanInPageOptions {
  const { texts: _, compute: __, vocabulary: ___, ...options } = settings
  return { ...options, calibration: textsOf(settings) }
}

/** A page has files alone. */
export const textsOf = ({ texts }: Settings) => texts as readonly File[] | undefined
