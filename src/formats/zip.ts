// Zip archives as PyTorch writes them: stored members, zip64, data aligned by an extra field of the local header.
// Source: PKWARE APPNOTE 6.3.10, sections 4.3 (layout) and 4.5.3 (zip64); PyTorch caffe2/serialize/inline_container.h.
import { type ByteSource, readBytes } from '../base/bytes.ts'
import { FormatError } from '../base/errors.ts'
import { quote } from '../base/json.ts'
import { crc32 } from './crc32.ts'

/** The end record is 22 bytes and a comment of at most 65535; it is searched for from the end of the file. */
const END_BYTES = 22
const MAX_COMMENT = 65_535
const LOCATOR_BYTES = 20
const ZIP64_END_BYTES = 56
const LOCAL_BYTES = 30
const CENTRAL_BYTES = 46
/** The largest checkpoints have a few thousand members of some 80 bytes in the directory; in memory four times that. */
const MAX_DIRECTORY_BYTES = 8 * 2 ** 20

/** In a 32-bit or 16-bit field: the value is in the zip64 extra field. */
const IN_ZIP64 = 0xffffffff
const IN_ZIP64_SHORT = 0xffff
const ZIP64_EXTRA = 0x0001
const ENCRYPTED = 0x0001

export interface ZipMember {
  readonly name: string
  /** Bytes of the contents. */
  readonly size: number
  /** Checksum of the contents; 0 where none was computed, as torch.save does on demand (compute_crc32). */
  readonly crc: number
  /** Offset of the local header. */
  readonly header: number
}

export interface ZipArchive {
  readonly members: ReadonlyMap<string, ZipMember>
  /** Bytes `start` to `end` of a member. @throws FormatError where they are all of it and do not match its checksum */
  slice(member: ZipMember, start: number, end: number): Promise<Uint8Array<ArrayBuffer>>
  /** Contents of a small member. @throws FormatError where it has more than `limit` bytes, or as `slice` */
  read(member: ZipMember, limit: number): Promise<Uint8Array<ArrayBuffer>>
}

interface Directory {
  readonly start: number
  readonly size: number
  readonly count: number
}

/**
 * Reads the central directory.
 * @throws FormatError where it is missing (the file is no zip or cut short), contradicts the file, or has unsafe names.
 */
export async function openZip(source: ByteSource): Promise<ZipArchive> {
  const directory = await findDirectory(source)
  const members = await readDirectory(source, directory)
  const slice: ZipArchive['slice'] = async (member, start, end) => {
    const data = await localDataOffset(source, member, directory.start)
    const bytes = await readBytes(source, data + start, data + end)
    const whole = start === 0 && end === member.size
    if (whole && member.crc !== 0 && crc32(bytes) !== member.crc) {
      const problem = `member ${quote(member.name)} does not match its checksum`
      throw new FormatError(source.name, `${problem}: it is damaged, download it again`)
    }
    return bytes
  }
  return {
    members,
    slice,
    async read(member, limit) {
      if (member.size > limit)
        throw new FormatError(source.name, `${quote(member.name)} has ${member.size} bytes, allowed are ${limit}`)
      return slice(member, 0, member.size)
    },
  }
}

const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** A u64 as a number. Beyond 2^53 it is inexact, but then beyond every file too, which the callers check. */
const u64 = (at: DataView, offset: number): number => Number(at.getBigUint64(offset, true))

async function findDirectory(source: ByteSource): Promise<Directory> {
  const tailStart = Math.max(0, source.byteLength - END_BYTES - MAX_COMMENT)
  const tail = view(await readBytes(source, tailStart, source.byteLength))
  let end = tail.byteLength - END_BYTES
  while (end >= 0 && !isEnd(tail, end)) end--
  if (end < 0) {
    throw new FormatError(source.name, 'has no zip directory at its end: it is cut short or no zip, download it again')
  }
  let [count, size, start] = [
    tail.getUint16(end + 10, true),
    tail.getUint32(end + 12, true),
    tail.getUint32(end + 16, true),
  ]
  let limit = tailStart + end // the directory ends before this
  if (tail.getUint16(end + 4, true) !== 0 && tail.getUint16(end + 4, true) !== IN_ZIP64_SHORT) {
    throw new FormatError(source.name, 'is one part of a zip in several files; join them')
  }
  if (count === IN_ZIP64_SHORT || size === IN_ZIP64 || start === IN_ZIP64) {
    const record = await readZip64End(source, limit - LOCATOR_BYTES)
    ;[count, size, start, limit] = [u64(record.view, 32), u64(record.view, 40), u64(record.view, 48), record.start]
  }
  if (start + size > limit || count * CENTRAL_BYTES > size) {
    throw new FormatError(
      source.name,
      `has a zip directory of ${count} members, ${size} bytes at ${start}, outside the file`,
    )
  }
  if (size > MAX_DIRECTORY_BYTES) {
    throw new FormatError(source.name, `has a zip directory of ${size} bytes, allowed are ${MAX_DIRECTORY_BYTES}`)
  }
  return { start, size, count }
}

const isEnd = (tail: DataView, at: number): boolean =>
  tail.getUint32(at, true) === 0x06054b50 && at + END_BYTES + tail.getUint16(at + 20, true) === tail.byteLength

async function readZip64End(source: ByteSource, locatorStart: number): Promise<{ view: DataView; start: number }> {
  const missing = () => new FormatError(source.name, 'has a broken zip64 directory; download it again')
  if (locatorStart < 0) throw missing()
  const locator = view(await readBytes(source, locatorStart, locatorStart + LOCATOR_BYTES))
  const start = u64(locator, 8)
  if (locator.getUint32(0, true) !== 0x07064b50 || start + ZIP64_END_BYTES > locatorStart) throw missing()
  const record = view(await readBytes(source, start, start + ZIP64_END_BYTES))
  if (record.getUint32(0, true) !== 0x06064b50) throw missing()
  return { view: record, start }
}

async function readDirectory(source: ByteSource, { start, size, count }: Directory): Promise<Map<string, ZipMember>> {
  const bytes = await readBytes(source, start, start + size)
  const at = view(bytes)
  const members = new Map<string, ZipMember>()
  let offset = 0
  for (let i = 0; i < count; i++) {
    const fits = offset + CENTRAL_BYTES <= size && at.getUint32(offset, true) === 0x02014b50
    const nameEnd = fits ? offset + CENTRAL_BYTES + at.getUint16(offset + 28, true) : size + 1
    const extraEnd = fits ? nameEnd + at.getUint16(offset + 30, true) : size + 1
    if (extraEnd > size)
      throw new FormatError(source.name, `has a broken zip directory at member ${i}; download it again`)
    const member = readMember(
      source.name,
      at,
      offset,
      bytes.subarray(offset + CENTRAL_BYTES, nameEnd),
      bytes.subarray(nameEnd, extraEnd),
    )
    if (members.has(member.name)) throw new FormatError(source.name, `has the member ${quote(member.name)} twice`)
    if (member.header + LOCAL_BYTES + member.size > start) {
      throw new FormatError(
        source.name,
        `member ${quote(member.name)} ends beyond the file; it is cut short, download it again`,
      )
    }
    members.set(member.name, member)
    offset = extraEnd + at.getUint16(offset + 32, true)
  }
  return members
}

function readMember(file: string, at: DataView, offset: number, name: Uint8Array, extra: Uint8Array): ZipMember {
  const text = new TextDecoder().decode(name)
  const fail = (problem: string) => new FormatError(file, `member ${quote(text)} ${problem}`)
  if (!isSafeName(text)) throw fail('has a name that leads out of the archive: refused. Do not trust this file')
  if ((at.getUint16(offset + 8, true) & ENCRYPTED) !== 0)
    throw fail('is encrypted; save the checkpoint without a password')
  const method = at.getUint16(offset + 10, true)
  if (method !== 0)
    throw fail(`is compressed (method ${method}); torch.save compresses nothing. Unpack it and pack it again without`)
  // Zip64 holds, in this order, only the fields that are full here (4.5.3).
  const large = zip64Fields(extra)
  const wide = (short: number): number => (short === IN_ZIP64 ? (large.shift() ?? Number.NaN) : short)
  const size = wide(at.getUint32(offset + 24, true))
  const packed = wide(at.getUint32(offset + 20, true))
  const header = wide(at.getUint32(offset + 42, true))
  if (![size, packed, header].every(Number.isSafeInteger)) throw fail('has sizes that are missing or beyond 2^53')
  if (size !== packed) throw fail(`is not compressed, but has ${packed} bytes for ${size}`)
  const crc = at.getUint32(offset + 16, true)
  return { name: text, size, crc, header }
}

/** Not absolute, no `..`, no drive, no backslash or control character. */
function isSafeName(name: string): boolean {
  const unsafe = name === '' || name.startsWith('/') || /[\\:]/.test(name) || [...name].some(c => c < ' ')
  return !unsafe && !name.split('/').includes('..')
}

function zip64Fields(extra: Uint8Array): number[] {
  const at = view(extra)
  let offset = 0
  while (offset + 4 <= extra.byteLength) {
    const length = at.getUint16(offset + 2, true)
    if (offset + 4 + length > extra.byteLength) return []
    if (at.getUint16(offset, true) === ZIP64_EXTRA) {
      return Array.from({ length: Math.min(3, Math.floor(length / 8)) }, (_, i) => u64(at, offset + 4 + i * 8))
    }
    offset += 4 + length
  }
  return []
}

async function localDataOffset(source: ByteSource, member: ZipMember, limit: number): Promise<number> {
  const nameStart = member.header + LOCAL_BYTES
  const local = view(await readBytes(source, member.header, nameStart))
  if (local.getUint32(0, true) !== 0x04034b50) {
    throw new FormatError(
      source.name,
      `member ${quote(member.name)} has no header where the directory says; download it again`,
    )
  }
  const nameEnd = nameStart + local.getUint16(26, true)
  const name = new TextDecoder().decode(await readBytes(source, nameStart, nameEnd))
  if (name !== member.name) {
    throw new FormatError(
      source.name,
      `member ${quote(member.name)} calls itself ${quote(name)}: do not trust this file`,
    )
  }
  const start = nameEnd + local.getUint16(28, true)
  if (start + member.size > limit) {
    throw new FormatError(
      source.name,
      `member ${quote(member.name)} ends beyond the file; it is cut short, download it again`,
    )
  }
  return start
}
