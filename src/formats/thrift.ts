// Thrift's compact protocol, in which a parquet file has its metadata: passes over a struct before a reader believes what it claims.
// Source: apache/thrift doc/specs/thrift-compact-protocol.md.

/** Type numbers; 4 to 6 are integers of variable length. */
const [TRUE, FALSE, BYTE, I64, DOUBLE, BINARY, LIST, SET, STRUCT] = [1, 2, 3, 6, 7, 8, 9, 10, 12]

/** @throws RangeError where the struct at the start of `bytes` ends beyond them, or a list has more elements than there are bytes */
export function checkStruct(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = 0
  const byte = () => view.getUint8(at++)
  const varint = () => {
    let value = 0
    for (let scale = 1, more = true; more; scale *= 128) {
      const next = byte()
      value += (next & 127) * scale
      more = next > 127
    }
    return value
  }
  const pass = (count: number) => {
    at += count
    if (at > bytes.length) throw new RangeError(`a value ends ${at - bytes.length} bytes beyond the metadata`)
  }
  const list = () => {
    const head = byte()
    const count = head >> 4 === 15 ? varint() : head >> 4
    if (count > bytes.length - at) throw new RangeError(`a list of ${count} in ${bytes.length - at} bytes`)
    const type = head & 15
    for (let i = 0; i < count; i++) value(type === TRUE || type === FALSE ? BYTE : type)
  }
  const struct = () => {
    for (let head = byte(); head !== 0; head = byte()) {
      if (head < 16) varint() // the number of the field, where it is not a little above the last one
      value(head & 15)
    }
  }
  const value = (type: number) => {
    if (type === TRUE || type === FALSE) pass(0)
    else if (type === BYTE) pass(1)
    else if (type <= I64) varint()
    else if (type === DOUBLE) pass(8)
    else if (type === BINARY) pass(varint())
    else if (type === LIST || type === SET) list()
    else if (type === STRUCT) struct()
    else throw new RangeError(`a value of type ${type}`)
  }
  struct()
}
