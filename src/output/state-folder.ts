// Where the state of a run is: what a folder of it can do, on the disk of Node (state.node.ts) and on that of a page.
import { FormatError } from '../base/errors.ts'
import type { Scratch } from './activations.ts'

/** An open file of a folder. */
export interface StateFile extends Scratch {
  readonly byteLength: number
  /** Waits until the disk has what was written. */
  sync(): Promise<void>
}

/** The folder that a state is in: its own, with files alone. It need not be there. */
export interface StateFolder {
  /** For messages, as all that is text here. */
  readonly path: string
  /** The run whose state it is, as the start of a sentence. */
  readonly whose: string
  /** What the state is for, as the start of one. */
  readonly purpose: string
  /** What to do where the state is of another run: a sentence. */
  readonly remedy: string
  /** Names of its files. */
  list(): Promise<readonly string[]>
  /** All of a file. @throws FormatError where it is missing or has more than `limit` bytes */
  read(name: string, limit: number): Promise<Uint8Array>
  /** Writes a file, and waits until the disk has it. */
  write(name: string, bytes: Uint8Array): Promise<void>
  /** @param create a new one, empty. @default one that is there */
  open(name: string, create?: boolean): Promise<StateFile>
  /** Puts a file in the place of another, at once, and waits until the disk has it so. */
  rename(from: string, to: string): Promise<void>
  /** @param name of a file. @default the folder */
  remove(name?: string): Promise<void>
  /** Bytes of disk that are left beside the output. */
  freeBytes(): Promise<number>
}

export const damaged = (path: string, problem: string) =>
  new FormatError(path, `${problem}. The state of the earlier run is damaged: remove all of it, and begin anew`)
