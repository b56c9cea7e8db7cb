// Uploads a folder to the Hub.
import { readdir, readFile, stat } from 'node:fs/promises'
import { basename, join, resolve, sep } from 'node:path'
import { pathToFileURL } from 'node:url'
import { FormatError, HubError } from '../base/errors.ts'
import type { Progress } from '../base/events.ts'
import { VERSION } from '../base/version.ts'
import { OWN_MARK, putBack } from '../output/place.node.ts'
import { hubEnvironment } from './environment.node.ts'
import { type PushOptions, type PushResult, pushFiles, repository } from './push.ts'
import { fieldToken } from './request.ts'
import { sendCounted } from './upload.node.ts'
import { sum } from './upload.ts'

export type { PushOptions, PushResult } from './push.ts'

/**
 * Uploads `folder`, of fasp or another model folder, to the model repository `id` (`org/name`), made if it is missing.
 * The commit removes weights of the branch that the folder lacks; all other files stay. Dot files are not sent.
 * @throws FormatError, UsageError for `folder` or `id`; OutputError where the repository may not be replaced; HubError
 */
export async function* push(folder: string, id: string, options: PushOptions = {}): Progress<PushResult> {
  const sizes = await filesOf(folder)
  const name = repository(id)
  const environment = await hubEnvironment()
  if (environment.offline) throw new HubError(name, 'HF_HUB_OFFLINE forbids to push. Unset it.')
  const asked = options.token === undefined ? {} : { inPage: true, ...fieldToken(options.token) }
  const access = { ...environment, ...asked, name, id: name, send: sendCounted, signal: options.signal }
  const files = [...sizes].map(([path, size]) => [path, { size, content: pathToFileURL(join(folder, path)) }] as const)
  return yield* pushFiles(access, new Map(files), `Upload ${basename(resolve(folder))} with fasp ${VERSION}`, options)
}

/** What `push` sends. */
export interface PushPlan {
  readonly id: string
  /** Bytes of the files, by their paths. */
  readonly files: Readonly<Record<string, number>>
  readonly bytes: number
  /** Undefined without a README.md. */
  readonly card?: string
}

/** What `push` would send. Asks no server. @throws FormatError, UsageError as `push` */
export async function planPush(folder: string, id: string): Promise<PushPlan> {
  const files = await filesOf(folder)
  const card = files.has('README.md') ? await readFile(join(folder, 'README.md'), 'utf8') : undefined
  return { id: repository(id), files: Object.fromEntries(files), bytes: sum(files.values()), card }
}

/** Sizes of the files to send by their paths in the repository: no hidden or unfinished ones. @throws FormatError */
async function filesOf(folder: string): Promise<Map<string, number>> {
  await putBack(folder)
  const entries = await readdir(folder, { recursive: true }).catch(cause => {
    throw new FormatError(
      folder,
      'is no folder that can be read. Give a folder that fasp wrote; a .gguf file goes up as it is, by `hf upload`.',
      { cause },
    )
  })
  const files = new Map<string, number>()
  for (const entry of entries.sort()) {
    const parts = entry.split(sep)
    if (parts.some(part => part.startsWith('.') || part.endsWith('.partial'))) continue
    const info = await stat(join(folder, entry)).catch(cause => {
      throw new FormatError(join(folder, entry), 'is a link that leads nowhere. Remove it.', { cause })
    })
    if (info.isFile()) files.set(parts.join('/'), info.size)
  }
  if (!files.has(OWN_MARK) && !files.has('config.json'))
    throw new FormatError(
      folder,
      `has neither ${OWN_MARK} nor config.json. Give a folder that fasp wrote, or a model folder.`,
    )
  return files
}
