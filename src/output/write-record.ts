// A sink that remembers where it wrote, so that a later run may go on from there.
import { fileOf, type Sink } from './sink.ts'
import type { HeldOutput, WrittenTensor } from './steps.ts'

/** What is written to `sink`, as an output that steps write to: the written parts are `<file> <offset> <bytes>`. */
export function recorded(sink: Sink): { readonly sink: Sink; readonly output: HeldOutput } {
  const lengths = new Map<string, number>()
  const parts = new Map<string, WrittenTensor>()
  const pending = new Set<Promise<void>>()
  const add = (file: string, offset: number, byteLength: number) => {
    const name = `${file} ${offset} ${byteLength}`
    parts.set(name, { name, file: fileOf(sink, file), offset, byteLength })
  }
  const create: Sink['create'] = async (name, byteLength) => {
    const file = await sink.create(name, byteLength)
    lengths.set(name, byteLength)
    return {
      write(bytes, offset) {
        const writing = file.write(bytes, offset).then(() => add(name, offset, bytes.byteLength))
        pending.add(writing)
        writing.catch(() => {}).finally(() => pending.delete(writing)) // whoever writes is told of errors
        return writing
      },
      close: () => file.close(),
    }
  }
  return {
    sink: { ...sink, create },
    output: {
      async written() {
        await Promise.allSettled(pending)
        return [...parts.values()]
      },
      async resume(names) {
        for (const name of names) {
          const [, file, offset, length] = /^(.+) (\d+) (\d+)$/.exec(name) ?? []
          const end = Number(offset) + Number(length)
          if (!(end <= (lengths.get(file) ?? -1))) throw new Error(`${name} has no place`)
          add(file, Number(offset), Number(length))
        }
      },
    },
  }
}
