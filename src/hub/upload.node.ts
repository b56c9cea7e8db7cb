// `fetch` of Node that tells what has gone out: by what was read of the body.
import type { Send } from './request.ts'

export const sendCounted: Send = (url, { onSent, ...init }) =>
  fetch(url, onSent && init.body instanceof Blob ? { ...init, body: new CountedBlob(init.body, onSent) } : init)

/** A Blob that tells which fraction of it was read. */
class CountedBlob extends Blob {
  constructor(
    readonly blob: Blob,
    readonly tell: (fraction: number) => void,
  ) {
    super()
  }

  override get size(): number {
    return this.blob.size
  }

  override stream(): ReturnType<Blob['stream']> {
    let read = 0
    const count = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform: (bytes, controller) => {
        read += bytes.length
        this.tell(read / this.size)
        controller.enqueue(bytes)
      },
    })
    return this.blob.stream().pipeThrough(count)
  }
}
