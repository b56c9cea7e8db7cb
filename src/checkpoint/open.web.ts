// From what a page has to an open checkpoint: picked files, a Blob, or an address.
import { FormatError } from '../base/errors.ts'
import { blobSource, type FetchOptions, openUrl, urlName } from '../formats/source.web.ts'
import type { Checkpoint } from './checkpoint.ts'
import { openGgufSource } from './gguf.ts'
import { type CheckConfig, huggingFaceCheckpoint, USUAL_FILES } from './huggingface.ts'

/** The files of a folder (`<input webkitdirectory>`), the `Blob` of a `.gguf` file, or the URL of either. */
export type WebSource = Iterable<File> | Blob | URL | string

/** A file as one of a folder, as `<input webkitdirectory>` gives it. @param path from the folder on, with its name */
export const withPath = (file: File, path: string): File =>
  Object.defineProperty(file, 'webkitRelativePath', { value: path.includes('/') ? path : '' })

export interface OpenSourceOptions extends FetchOptions {
  readonly checkConfig?: CheckConfig
}

/** @throws FormatError, UnsupportedModelError */
export async function openSource(source: WebSource, options: OpenSourceOptions): Promise<Checkpoint> {
  if (source instanceof Blob) return openGgufSource(blobSource(source, nameOf(source)))
  if (typeof source === 'string' || source instanceof URL)
    return openAddress(new URL(source, globalThis.location?.href), options)
  const files = [...source]
  const gguf = files.length === 1 && isGguf(files[0].name)
  return gguf ? openSource(files[0], options) : openFiles(files, options)
}

const isGguf = (name: string) => name.toLowerCase().endsWith('.gguf')

const nameOf = (blob: Blob): string => (blob instanceof File ? blob.name : 'model.gguf')

/** The files of a folder. Those of folders in it do not count. */
async function openFiles(files: readonly File[], { checkConfig }: OpenSourceOptions): Promise<Checkpoint> {
  // Browsers give the path from the picked folder on, with its name; files that were picked one by one have no path.
  const paths = files.map(file => (file.webkitRelativePath || `/${file.name}`).split('/'))
  const name = paths[0]?.[0] || 'the model'
  const byName = new Map(files.map((file, i) => [paths[i].slice(1, 3).join('/').replace(/\/.*/, '/'), file]))
  const open = async (file: string) => blobSource(byName.get(file)!, `${name}/${file}`)
  return huggingFaceCheckpoint({ name, files: new Set(byName.keys()), open }, checkConfig)
}

async function openAddress(url: URL, options: OpenSourceOptions): Promise<Checkpoint> {
  const opened = async (address: URL) => {
    const file = await openUrl(address, options)
    if (!file) throw new FormatError(urlName(address), 'is not there, or its server does not give it to this page')
    return file
  }
  if (isGguf(url.pathname)) return openGgufSource(await opened(url))
  const name = urlName(url).replace(/\/+$/, '')
  const address = (file: string) => new URL(`${name}/${encodeURIComponent(file)}`)
  // Servers do not list folders: each file that there may be is asked for.
  const asked = await Promise.all(USUAL_FILES.map(async file => [file, await openUrl(address(file), options)] as const))
  const found = new Map(asked.filter(([, file]) => file !== undefined))
  // Shards have the names that their index gives: one that is missing says so when it is opened.
  const files = {
    has: (file: string) => found.has(file) || /-of-\d+\./.test(file),
    [Symbol.iterator]: () => found.keys(),
  }
  const open = async (file: string) => found.get(file) ?? opened(address(file))
  return huggingFaceCheckpoint({ name, files, open }, options.checkConfig)
}
