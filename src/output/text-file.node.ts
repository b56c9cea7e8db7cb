// Results and reports as files: complete or not there, and nothing of the user's replaced.
import { access, constants, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { OutputError } from '../base/errors.ts'
import { attempt } from '../base/file-errors.node.ts'
import { openFile } from '../formats/file.node.ts'
import { outputTarget, partialPath } from './place.node.ts'

/** What our files have near their start: results, HTML pages, SVG and Markdown. Only such a file may be replaced. */
const OWN_MARK = /"fasp": ?"|<meta name="generator" content="fasp |<!-- fasp /

/** Bytes in which that is. */
const MARK_BYTES = 1024

/** Before the long part. @throws OutputError where `path` may not be replaced, or its folder not be written to */
export async function checkTextFile(path: string, overwrite = false): Promise<void> {
  const target = await outputTarget(path)
  const folder = dirname(target)
  await access(folder, constants.W_OK).catch(cause => {
    const problem = cause.code === 'ENOENT' ? `the folder ${folder} does not exist` : `${folder}: permission denied`
    throw new OutputError(`cannot write ${path}: ${problem}. Choose a folder that you may write to.`, { cause })
  })
  const there = await stat(target).catch(() => undefined)
  if (!there) return
  if (there.isDirectory())
    throw new OutputError(
      `${path} is a folder. The output is a file; choose another name, such as ${join(path, 'report.html')}.`,
    )
  if (!there.isFile())
    throw new OutputError(`${path} is no regular file, but a pipe, socket or device. Choose another name.`)
  if (!overwrite) throw new OutputError(`${path} exists already. Choose another name, or replace it with --overwrite.`)
  if (there.size > 0 && !OWN_MARK.test(await start(target)))
    throw new OutputError(`${path} was not written by fasp, so --overwrite leaves it alone. Choose another name.`)
}

/** Writes the file, so that it is complete or not there. @throws OutputError */
export async function writeTextFile(path: string, text: string, overwrite = false): Promise<void> {
  const target = await outputTarget(path)
  await checkTextFile(path, overwrite)
  const temporary = partialPath(target)
  try {
    await attempt(`write ${path}`, async () => {
      await writeFile(temporary, text, { flag: 'wx', flush: true })
      await rename(temporary, target)
    })
  } finally {
    await rm(temporary, { force: true })
  }
}

async function start(path: string): Promise<string> {
  const file = await openFile(path)
  try {
    return new TextDecoder().decode(await file.slice(0, MARK_BYTES))
  } finally {
    await file.close?.()
  }
}
