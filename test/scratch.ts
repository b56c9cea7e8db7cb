// Scratch files in memory.
import type { Scratch } from '../src/output/activations.ts'

/** One of so many bytes. @param closed is told when it is closed */
export function memoryScratch(byteLength: number, closed: (file: Scratch) => void = () => {}): Scratch {
  const bytes = new Uint8Array(byteLength)
  const file: Scratch = {
    read: async (target, offset) => target.set(bytes.subarray(offset, offset + target.length)),
    write: async (written, offset) => bytes.set(written, offset),
    close: async () => closed(file),
  }
  return file
}
