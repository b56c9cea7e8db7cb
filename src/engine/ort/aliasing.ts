// Results that would overwrite an input, for a runtime that may write results before it has read all inputs: OpenVINO
// keeps intermediate values in the array of a result where they fit.
import type { Values } from '../values.ts'

export type Arrays = Readonly<Record<string, Values>>

/** Runs a graph with these arrays, or with others in their place. */
export type Place = (feeds: Arrays, outputs: Arrays, run: (feeds: Arrays, outputs: Arrays) => void) => void

/** Gives results that overlap an input room of their own, kept from run to run, and copies them. */
export function apart(): Place {
  let room = new ArrayBuffer(0)
  return (feeds, outputs, run) => {
    const inputs = Object.values(feeds)
    const over = Object.entries(outputs).filter(([, output]) => inputs.some(input => overlap(input, output)))
    const bytes = over.reduce((sum, [, output]) => sum + aligned(output), 0)
    if (room.byteLength < bytes) room = new ArrayBuffer(bytes)
    let at = 0
    const placed = over.map(([name, output]): [string, Values] => {
      const Data = output.data.constructor as new (room: ArrayBuffer, at: number, length: number) => Values['data']
      const data = new Data(room, at, output.data.length)
      at += aligned(output)
      return [name, { ...output, data }]
    })
    run(feeds, { ...outputs, ...Object.fromEntries(placed) })
    for (const [name, { data }] of placed) outputs[name].data.set(data as never)
  }
}

/** Bytes, rounded up so that any type may follow. */
const aligned = ({ data }: Values): number => 8 * Math.ceil(data.byteLength / 8)

function overlap({ data: a }: Values, { data: b }: Values): boolean {
  const from = Math.max(a.byteOffset, b.byteOffset)
  const to = Math.min(a.byteOffset + a.byteLength, b.byteOffset + b.byteLength)
  return a.buffer === b.buffer && from < to
}
