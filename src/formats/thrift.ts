// Thrift's compact protocol, in which a parquet file has its metadata and the header of each page: passes over a struct
// before a reader believes what it claims.
// Source: apache/thrift doc/specs/thrift-compact-protocol.md.

/** Type numbers; 4 to 6 are integers of variable length. */
const [TRUE, FALSE, BYTE, I64, DOUBLE, BINARY, LIST, SET, STRUCT] = [1, 2, 3, 6, 7, 8, 9, 10, 12]

/**
 * @param found is told each integer of the struct and of structs in it: `5.1` is field 1 of field 5
 * @returns where the struct at the start of `bytes` ends
 * @throws RangeError where that is beyond them, or a list has more elements than there are bytes
 */
export function checkStruct(bytes: Uint8Array, found?: (field: string, value: number) => void): number {
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
  const struct = (path?: string) => {
    let field = 0
    for (let head = byte(); head !== 0; head = byte()) {
      // The number of the field itself, where it is not a little above the last one.
      field = head < 16 ? signed(varint()) : field + (head >> 4)
      value(head & 15, path === undefined ? undefined : `${path}${field}`)
    }
  }
  const value = (type: number, path?: string) => {
    if (type === TRUE || type === FALSE) pass(0)
    else if (type === BYTE) pass(1)
    else if (type <= I64) integer(signed(varint()), path)
    else if (type === DOUBLE) pass(8)
    else if (type === BINARY) pass(varint())
    else if (type === LIST || type === SET) list()
    else if (type === STRUCT) struct(path && `${path}.`)
    else throw new RangeError(`a value of type ${type}`)
  }
  const integer = (value: number, path?: string) => path && found?.(path, value)
  struct(found && '')
  return at
}

/** Of zigzag. */
const signed = (value: number): number => (value % 2 === 1 ? -(value + 1) / 2 : value / 2)
