// What collectives give, as a hash: the same whatever carries the bytes. usage: mpirun -n 3 node collectives.mjs <auto | library> [chunk]
// Prints one line a rank: rank, size, what carries the bytes, the hash.
import { createHash } from 'node:crypto'
import { pathToFileURL } from 'node:url'

/** Numbers whose float32 sums depend on the order of addition. */
const numbers = (Type, length, seed) =>
  Type.from({ length }, (_, i) => Math.sin(1 + i * 7919 + seed * 104729) * 10 ** ((i + seed) % 13))

/** The hash of what one rank gets from all collectives, in odd sizes. */
export async function results(group) {
  const hash = createHash('sha256')
  for (const length of [0, 1, 2, 3, 5, 1023, 1024, 1025, 3 * 1024 + 1, 10007])
    for (const Type of [Float32Array, Float64Array]) {
      const [one, two] = [numbers(Type, length, group.rank), numbers(Type, 3, group.rank + 50)]
      await group.sum(one, two)
      for (const { buffer } of [one, two]) hash.update(new Uint8Array(buffer))
    }
  for (const length of [1, 2, 1025, 10007]) {
    const all = numbers(Float32Array, length, group.rank)
    const rows = [all.subarray(0, length >> 1), all.subarray(length >> 1)]
    await group.sumAtRoot(numbers(Float64Array, 5, group.rank), rows)
    hash.update(new Uint8Array((await group.decide(() => all)).buffer))
  }
  await group.barrier()
  hash.update(JSON.stringify(await group.gather({ rank: group.rank, text: 'ä'.repeat(10 * group.rank) })))
  for (const length of [0, 1, 4095, 4096, 20001]) {
    const { own, text } = await group.decide(() => ({ own: numbers(Float32Array, length, 9), text: `${length}` }))
    hash.update(new Uint8Array(own.buffer)).update(text)
  }
  for (const length of [0, 1, 4095, 4096, 20001])
    for (let from = 0; from < group.size; from++) {
      const to = (from + 1) % group.size
      const bytes = group.rank === from ? Uint8Array.from({ length }, (_, i) => 7 * i + from) : new Uint8Array(length)
      await group.move(from, to, [from, to].includes(group.rank) ? bytes : undefined)
      hash.update(bytes)
    }
  return hash.digest('hex')
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { openGroup } = await import('../../dist/node.js')
  const [mpi, chunk] = process.argv.slice(2)
  const group = openGroup(mpi, chunk ? { chunk: Number(chunk) } : {})
  process.stdout.write(`${group.rank} ${group.size} ${await results(group)} ${group.name}\n`)
  await group.close()
}
