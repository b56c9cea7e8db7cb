// The folder that a Hugging Face model is in, wherever its files lie: on a disk, on a web server, or picked in a page.
import type { ByteSource } from '../base/bytes.ts'

export interface ModelFolder {
  /** Path or URL, for messages. */
  readonly name: string
  /** Names of the files directly in it, and with a slash at their end those of folders. */
  readonly files: Pick<ReadonlySet<string>, 'has' | typeof Symbol.iterator>
  /** @throws FormatError where the file cannot be opened */
  open(file: string): Promise<ByteSource>
}
