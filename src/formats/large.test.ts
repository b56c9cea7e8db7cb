// Files of many gigabytes, made up as they are read: tensors over 2 GiB, and those that begin beyond 2 and 4 GiB.
import { expect, test } from 'vitest'
import type { ByteSource } from '../base/bytes.ts'
import { openGguf } from './gguf.ts'
import { ggufValue, layoutGguf } from './gguf-layout.ts'
import { layoutSafetensors, openSafetensors } from './safetensors.ts'

const SHAPES = { first: [2 ** 18, 2 ** 12], second: [2 ** 16 + 1, 2 ** 12], third: [7, 2 ** 12] } // of 4.3 and 1.1 GB, and small
const NAMES = Object.keys(SHAPES) as (keyof typeof SHAPES)[]

interface Layout {
  readonly header: Uint8Array
  readonly byteLength: number
  readonly tensors: ReadonlyMap<string, { readonly offset: number; readonly byteLength: number }>
}

/** Each float32 is its tensor's number and its own place, modulo primes. */
const valueAt = (tensor: number, element: number): number => 1000 * tensor + (element % 997)

function madeUp({ header, byteLength, tensors }: Layout): ByteSource {
  const all = NAMES.map((name, number) => ({ number, ...tensors.get(name)! }))
  return {
    name: 'large',
    byteLength,
    async slice(start, end = byteLength) {
      if (end > header.length && end - start > 2 ** 20) throw new Error(`${end - start} bytes are read at once`)
      const bytes = new DataView(new ArrayBuffer(end - start))
      for (let at = start; at < end && at < header.length; at++) bytes.setUint8(at - start, header[at])
      for (const { number, offset, byteLength } of all)
        for (let at = Math.max(start, offset); at < Math.min(end, offset + byteLength); at += 4)
          bytes.setFloat32(at - start, valueAt(number, (at - offset) / 4), true)
      return bytes.buffer
    },
  }
}

test.each([
  [
    'safetensors',
    async () => {
      const infos = NAMES.map(name => ({ name, dtype: 'F32' as const, shape: SHAPES[name] }))
      return openSafetensors(madeUp(layoutSafetensors(infos)))
    },
  ],
  [
    'GGUF',
    async () => {
      const infos = NAMES.map(name => ({ name, type: 'F32' as const, shape: SHAPES[name] }))
      const layout = layoutGguf([['general.architecture', ggufValue.text('llama')]], infos)
      return (await openGguf(madeUp(layout))).tensors
    },
  ],
])('rows of tensors over 2 GiB, and beyond the first 4 GiB of a file: %s', async (_, open) => {
  const source = await open()
  for (const [number, name] of NAMES.entries()) {
    const [rows, columns] = SHAPES[name]
    const ids = Int32Array.of(0, Math.floor(rows / 2), rows - 1)
    const found = await source.rows(name, ids)
    for (const [i, id] of ids.entries())
      for (const column of [0, 1, columns - 1])
        expect(found[i * columns + column], `${name} ${id} ${column}`).toBe(valueAt(number, id * columns + column))
  }
})
