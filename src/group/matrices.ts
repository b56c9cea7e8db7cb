// Matrices on their way from the root: in float32 where that holds them.
import type { RowReader } from '../linalg/cholesky.ts'
import type { Doubles, Numbers } from '../linalg/matrix.ts'
import type { Group } from './group.ts'

/** Elements that are sent at once. */
const BLOCK = 2 ** 24

/** Sends what is on and above the diagonal of a matrix [n, n]. @param read at the root @returns what reads it, on all ranks */
export async function sendMatrix(group: Group, n: number, read?: RowReader): Promise<RowReader> {
  const [diagonal, after]: [number[], Numbers[]] = [[], []] // of each row
  for (let first = 0, last = 0; first < n; first = last) {
    let length = 0
    do length += n - ++last
    while (last < n && length + n - last < BLOCK)
    const rows = await group.decide(() => {
      const [own, above] = [new Float64Array(last - first), new Float64Array(length)]
      for (let i = first, at = 0; i < last; at += n - ++i) {
        read!(i, i, own.subarray(i - first, i - first + 1))
        read!(i, i + 1, above.subarray(at, at + n - i - 1))
      }
      return { own, above: narrowed(above) }
    })
    if (read) continue
    diagonal.push(...rows.own)
    for (let i = first, at = 0; i < last; at += n - ++i) after.push(rows.above.subarray(at, at + n - i - 1))
  }
  return (
    read ??
    ((i, from, target) => {
      const start = Math.max(i + 1, from)
      if (from === i) target[0] = diagonal[i]
      target.set(after[i].subarray(start - i - 1, from + target.length - i - 1), start - from)
    })
  )
}

/** Bytes of an element that holds each of them. */
export function narrowest(values: Doubles): 4 | 8 {
  for (let i = 0; i < values.length; i++) if (Math.fround(values[i]) !== values[i]) return 8
  return 4
}

/**
 * Gives each rank a part of what the root has. On all ranks. @param lengths of the parts, in elements of so many bytes
 * @param fill at the root: writes the part of a rank @returns the own part
 */
export async function dealt(
  group: Group,
  lengths: readonly number[],
  bytes: 4 | 8,
  fill?: (part: Numbers, to: number) => void,
): Promise<Numbers> {
  const Type = bytes === 4 ? Float32Array : Float64Array
  let own: Numbers = new Type()
  for (const [to, length] of lengths.entries()) {
    if (length === 0) continue
    const part = new Type(fill || to === group.rank ? length : 0)
    fill?.(part, to)
    await group.move(0, to, bytesOf(part))
    if (to === group.rank) own = part
  }
  return own
}

export const narrowed = (values: Doubles): Numbers => (narrowest(values) === 4 ? new Float32Array(values) : values)

export const bytesOf = ({ buffer, byteOffset, byteLength }: Numbers) => new Uint8Array(buffer, byteOffset, byteLength)
