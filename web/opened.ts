// The model that is open in a worker.
import { disposable } from '../src/checkpoint/checkpoint.ts'
import { openSource } from '../src/checkpoint/open.web.ts'
import { UsageError } from '../src/errors.ts'
import { architectureOf, describeModel, type Model } from '../src/model/model.ts'
import type { PruneOptions } from '../src/options.ts'
import type { Ask, Settings } from '../src/ui/protocol.ts'

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

let model: Model | undefined

/** @throws UsageError where the page asks for what is not there yet */
export function opened(): Model {
  if (!model) throw new UsageError('no model is open. Choose one first.')
  return model
}

/** As `openModel` of the library, without what computes. */
export async function openFiles(files: readonly File[]): Promise<Model> {
  const checkpoint = disposable(await openSource(files, { checkConfig: architectureOf }))
  try {
    return describeModel(checkpoint)
  } catch (error) {
    await checkpoint.close()
    throw error
  }
}

/** Closes the one before. */
export async function open(ask: Ask<'open'>): Promise<Model> {
  if (ask !== 'tiny' && 'path' in ask) throw new UsageError('a page opens no paths. Choose the files.')
  const next = await openFiles(ask === 'tiny' ? await tinyFiles() : ask.map(({ file, path }) => withPath(file, path)))
  await model?.checkpoint.close()
  model = next
  return model
}

/** The library reads the path that browsers give files of a folder. Not all send it to a worker. */
export const withPath = (file: File, path: string): File =>
  Object.defineProperty(file, 'webkitRelativePath', { value: path.includes('/') ? path : '' })

const tinyFiles = () =>
  Promise.all(
    TINY_FILES.map(async name => {
      const answer = await fetch(new URL(`${TINY}/${name}`, PAGE))
      if (!answer.ok) throw new UsageError(`${TINY}/${name} is not beside this page (status ${answer.status}).`)
      return withPath(new File([await answer.blob()], name), `${TINY}/${name}`)
    }),
  )

export const optionsOf = ({ texts: _, compute: __, vocabulary: ___, ...options }: Settings): PruneOptions => options

/** A page has files alone. */
export const textsOf = ({ texts }: Settings) => texts as readonly File[] | undefined
