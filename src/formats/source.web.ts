// Files as a page has them, a Blob or a URL, as `ByteSource`. URLs are read by ranges (RFC 9110, section 14).
import { type ByteSource, memorySource } from '../base/bytes.ts'
import { FormatError } from '../base/errors.ts'

/** @param name for messages */
export const blobSource = (blob: Blob, name: string): ByteSource => ({
  name,
  byteLength: blob.size,
  slice: (start, end) =>
    blob
      .slice(start, end)
      .arrayBuffer()
      .catch(cause => {
        throw new FormatError(name, `cannot be read (${cause.message}); was it changed? Choose it again`, { cause })
      }),
})

export interface FetchOptions {
  /** Instead of the page's own: to send a token, or to try again. */
  readonly fetch?: typeof fetch
  readonly signal?: AbortSignal
}

/** Asked for first: small files come whole, and of most others the header. */
const FIRST_BYTES = 2 ** 16
/** Read into memory where a server sends no parts: as much as side files may have. */
const MAX_WHOLE = 64 * 2 ** 20
/** A server does not say of each whether it lacks the file or hides it: stores without a listing answer 403. */
const MISSING: readonly number[] = [401, 403, 404, 410]

/** Name of a URL in messages and results: a signature in its query is nobody's business. */
export const urlName = ({ origin, pathname }: URL): string => `${origin}${pathname}`

/** The file at a URL, if any. @throws FormatError for no answer, or a large file without ranges; the signal's reason */
export async function openUrl(
  url: URL,
  { fetch = globalThis.fetch, signal }: FetchOptions,
): Promise<ByteSource | undefined> {
  const name = urlName(url)
  const request = async (start: number, end: number, cache?: RequestCache): Promise<Response> => {
    const range = { Range: `bytes=${start}-${end - 1}` }
    return fetch(url, { headers: range, signal, cache }).catch(cause => {
      signal?.throwIfAborted()
      const remedy = 'Check the connection, and that the server lets this page read it (CORS)'
      throw new FormatError(name, `cannot be fetched (${cause.message}). ${remedy}`, { cause })
    })
  }
  const refuse = (problem: string) => new FormatError(name, problem)
  const answer = await request(0, FIRST_BYTES)
  // Servers of pages answer with a page of their own where they lack a file.
  if (MISSING.includes(answer.status) || answer.headers.get('Content-Type')?.startsWith('text/html')) {
    await answer.body?.cancel()
    return undefined
  }
  const total = Number(/^bytes (?:0-\d+|\*)\/(\d+)$/.exec(answer.headers.get('Content-Range') ?? '')?.[1])
  if (answer.status === 416 && total === 0) return memorySource(new Uint8Array(0), name)
  if (answer.status === 200) {
    const remedy = `larger ones than ${MAX_WHOLE / 2 ** 20} MiB need a server that answers requests with a Range`
    return memorySource(await bodyOf(answer, MAX_WHOLE, refuse(`its server sends files whole only; ${remedy}`)), name)
  }
  const part = async (response: Response, start: number, end: number) => {
    const told = response.headers.get('Content-Range')
    if (response.status !== 206 || told !== `bytes ${start}-${end - 1}/${total}`)
      throw refuse(
        `its server answers status ${response.status}, ${told ?? 'no range'} of bytes ${start} to ${end}; ` +
          'was the file changed? Try again',
      )
    const length = end - start
    const bytes = await bodyOf(response, length, refuse(`its server sends more than the ${length} bytes asked for`))
    return bytes
  }
  /** Where the body ends early, as it may out of a browser's cache, it is asked for once more. */
  const whole = async (response: Response, start: number, end: number) => {
    const bytes = await part(response, start, end)
    const again = bytes.length < end - start ? await part(await request(start, end, 'reload'), start, end) : bytes
    if (again.length === end - start) return again
    throw refuse(`ended after ${again.length} of ${end - start} bytes, twice. Try again`)
  }
  const first = await whole(answer, 0, Math.min(FIRST_BYTES, total))
  return {
    name,
    byteLength: total,
    async slice(start, end = total) {
      const to = Math.min(end, total)
      if (to <= first.length) return first.slice(start, to).buffer
      return (await whole(await request(start, to), start, to)).buffer
    },
  }
}

/** @throws `tooLong` where the body has more than `most` bytes */
async function bodyOf(response: Response, most: number, tooLong: Error): Promise<Uint8Array<ArrayBuffer>> {
  let length = 0
  const counted = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
    transform(chunk, controller) {
      length += chunk.length
      if (length > most) throw tooLong
      controller.enqueue(chunk)
    },
  })
  return new Uint8Array(await new Response(response.body?.pipeThrough(counted)).arrayBuffer())
}
