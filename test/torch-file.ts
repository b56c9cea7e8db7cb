// Builds zips and pickles in memory, good and bad ones, for the tests of the readers.
import { crc32, deflateRawSync } from 'node:zlib'
import { concatBytes } from '../src/base/bytes.ts'

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

export const concat = (...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> => concatBytes(parts)

/** Fields of `widths` bytes each, little-endian. */
function record(...fields: readonly [width: 2 | 4 | 8, value: number][]): Uint8Array {
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [width]) => sum + width, 0)))
  let at = 0
  for (const [width, value] of fields) {
    if (width === 2) view.setUint16(at, value, true)
    else if (width === 4) view.setUint32(at, value, true)
    else view.setBigUint64(at, BigInt(value), true)
    at += width
  }
  return new Uint8Array(view.buffer)
}

export interface Member {
  name: string
  data: Uint8Array
  deflated?: boolean
  /** Claims in the directory that differ from the truth. */
  size?: number
  packed?: number
  header?: number
  flags?: number
  method?: number
  crc?: number
  /** Name in the local header. */
  localName?: string
}

/** A zip with an extra field in the local headers alone, as torch writes to align data; with `zip64`, every size is in zip64 fields. */
export function zipFile(members: readonly Member[], zip64 = false): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = []
  const directory: Uint8Array[] = []
  let at = 0
  for (const member of members) {
    const data = member.deflated ? deflateRawSync(member.data) : member.data
    const method = member.method ?? (member.deflated ? 8 : 0)
    const size = member.size ?? member.data.byteLength
    const packed = member.packed ?? data.byteLength
    const header = member.header ?? at
    const name = utf8(member.name)
    const localName = utf8(member.localName ?? member.name)
    const padding = concat(record([2, 0x4246], [2, 5]), new Uint8Array(5))
    const extra = zip64 ? record([2, 1], [2, 24], [8, size], [8, packed], [8, header]) : new Uint8Array(0)
    const short = (value: number) => (zip64 ? 0xffffffff : value)
    const flags = member.flags ?? 0
    // What both headers say of a member: flags, method, time, checksum, sizes.
    const crc = member.crc ?? crc32(member.data)
    const facts = record([2, flags], [2, method], [4, 0], [4, crc], [4, short(packed)], [4, short(size)])
    const local = concat(record([4, 0x04034b50], [2, 45]), facts)
    parts.push(local, record([2, localName.byteLength], [2, padding.byteLength]), localName, padding, data)
    directory.push(
      record([4, 0x02014b50], [2, 45], [2, 45]),
      facts,
      record([2, name.byteLength], [2, extra.byteLength], [2, 0], [2, 0], [2, 0], [4, 0], [4, short(header)]),
      name,
      extra,
    )
    at += 30 + localName.byteLength + padding.byteLength + data.byteLength
  }
  const central = concat(...directory)
  const count = members.length
  const end64 = zip64
    ? [
        record(
          [4, 0x06064b50],
          [8, 44],
          [2, 45],
          [2, 45],
          [4, 0],
          [4, 0],
          [8, count],
          [8, count],
          [8, central.byteLength],
          [8, at],
        ),
        record([4, 0x07064b50], [4, 0], [8, at + central.byteLength], [4, 1]),
      ]
    : []
  const entries = zip64 ? 0xffff : count
  const [size, start] = zip64 ? [0xffffffff, 0xffffffff] : [central.byteLength, at]
  const end = record([4, 0x06054b50], [2, 0], [2, 0], [2, entries], [2, entries], [4, size], [4, start], [2, 0])
  return concat(...parts, central, ...end64, end)
}

/** Pickle opcodes with their operands, to be strung together by `pickle`. */
export const op = {
  text: (text: string) => concat(Uint8Array.of(0x58), record([4, utf8(text).byteLength]), utf8(text)),
  int: (value: number) => concat(Uint8Array.of(0x4a), record([4, value])),
  long: (value: bigint) => {
    const bytes = new Uint8Array(BigInt64Array.of(value).buffer)
    return concat(Uint8Array.of(0x8a, 8), bytes)
  },
  global: (module: string, name: string) => utf8(`c${module}\n${name}\n`),
  mark: Uint8Array.of(0x28),
  tuple: Uint8Array.of(0x74),
  emptyTuple: Uint8Array.of(0x29),
  emptyDict: Uint8Array.of(0x7d),
  setItems: Uint8Array.of(0x75),
  reduce: Uint8Array.of(0x52),
  persistent: Uint8Array.of(0x51),
  no: Uint8Array.of(0x89),
  build: Uint8Array.of(0x62),
  /** Any opcode. */
  byte: (...bytes: number[]) => Uint8Array.of(...bytes),
}

export const pickle = (...ops: readonly Uint8Array[]): Uint8Array => concat(op.byte(0x80, 2), ...ops, op.byte(0x2e))

const tupleOf = (...items: readonly Uint8Array[]) => concat(op.mark, ...items, op.tuple)
const intOf = (value: number) => (Math.abs(value) < 2 ** 31 ? op.int(value) : op.long(BigInt(value)))

export interface PickledTensor {
  storage?: string
  type?: string
  key?: string
  /** Elements of the storage. */
  length: number
  offset?: number
  shape: readonly number[]
  strides: readonly number[]
}

/** A tensor as `torch.save` pickles it. */
export const tensor = (t: PickledTensor): Uint8Array =>
  concat(
    op.global('torch._utils', '_rebuild_tensor_v2'),
    tupleOf(
      tupleOf(
        op.text('storage'),
        op.global('torch', t.type ?? 'FloatStorage'),
        op.text(t.key ?? '0'),
        op.text('cpu'),
        intOf(t.length),
      ),
      op.persistent,
      intOf(t.offset ?? 0),
      tupleOf(...t.shape.map(intOf)),
      tupleOf(...t.strides.map(intOf)),
      op.no,
      op.global('collections', 'OrderedDict'),
      op.emptyTuple,
      op.reduce,
    ),
    op.reduce,
  )

/** A dict of pickled values. */
export const dict = (entries: Readonly<Record<string, Uint8Array>>): Uint8Array =>
  concat(
    op.emptyDict,
    op.mark,
    ...Object.entries(entries).flatMap(([key, value]) => [op.text(key), value]),
    op.setItems,
  )

/** A torch checkpoint: this pickle and these storages. */
export function torchFile(
  pickled: Uint8Array,
  storages: Readonly<Record<string, ArrayBufferView<ArrayBuffer>>> = {},
  more: readonly Member[] = [],
): Uint8Array<ArrayBuffer> {
  const members = Object.entries(storages).map(([key, { buffer }]) => ({
    name: `m/data/${key}`,
    data: new Uint8Array(buffer),
  }))
  return zipFile([{ name: 'm/data.pkl', data: pickled }, ...members, ...more])
}
