// Chosen and dropped files, folders too, as the worker takes them.
import type { PickedFile } from '../src/page/protocol.ts'

/** Of a folder only what lies in it is of use, and of that only so many. */
const MAX_FILES = 2000

export const chosen = (files: Iterable<File>): PickedFile[] =>
  [...files].map(file => ({ path: file.webkitRelativePath || file.name, file }))

/** Of a drop. Its entries are there only until this first waits, so they are taken before. */
export async function dropped(transfer: DataTransfer): Promise<PickedFile[]> {
  const entries = [...transfer.items].map(item => item.webkitGetAsEntry?.()).filter(entry => entry != null)
  if (entries.length === 0) return chosen(transfer.files)
  return (await Promise.all(entries.map(filesOf))).flat()
}

async function filesOf(entry: FileSystemEntry): Promise<PickedFile[]> {
  if (entry.isFile) return [await fileOf(entry as FileSystemFileEntry, entry.name)]
  const inside = (await entriesOf(entry as FileSystemDirectoryEntry)).filter(one => one.isFile)
  return Promise.all(inside.map(one => fileOf(one as FileSystemFileEntry, `${entry.name}/${one.name}`)))
}

const fileOf = (entry: FileSystemFileEntry, path: string) =>
  new Promise<PickedFile>((resolve, reject) => entry.file(file => resolve({ path, file }), reject))

/** Browsers give a hundred at a time, until they give none. */
async function entriesOf(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader()
  const found: FileSystemEntry[] = []
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject))
    if (some.length === 0 || found.length > MAX_FILES) return found
    found.push(...some)
  }
}

/** Gives a file to the user's folder of downloads. */
export function download(file: File): void {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(file)
  link.download = file.name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000) // browsers read it after the click
}
