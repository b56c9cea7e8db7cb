// CRC-32 of zip archives. Source: PKWARE APPNOTE 6.3.10, 4.4.7; four bytes at once after Kounavis and Berry, "A
// Systematic Approach to Building High Performance Software-based CRC Generators" (2005).

const POLYNOMIAL = 0xedb88320 // bits reversed

/** For each byte, the checksum of it and of 0 to 3 zeros after it. */
const [ONE, TWO, THREE, FOUR] = tables()

function tables(): Int32Array[] {
  const found = Array.from({ length: 4 }, () => new Int32Array(256))
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1
    found[0][byte] = crc
  }
  for (let i = 1; i < 4; i++) found[i].set(found[i - 1].map(crc => (crc >>> 8) ^ found[0][crc & 255]))
  return found
}

/** @param bytes beginning at a multiple of 4 of their buffer */
export function plainCrc32(bytes: Uint8Array): number {
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, Math.floor(bytes.length / 4))
  let crc = -1
  for (let i = 0; i < words.length; i++) {
    crc ^= words[i]
    crc = FOUR[crc & 255] ^ THREE[(crc >>> 8) & 255] ^ TWO[(crc >>> 16) & 255] ^ ONE[crc >>> 24]
  }
  for (let i = words.length * 4; i < bytes.length; i++) crc = ONE[(crc ^ bytes[i]) & 255] ^ (crc >>> 8)
  return ~crc >>> 0
}

/** Node's own is four times as fast; browsers have none. */
export const crc32: (bytes: Uint8Array) => number =
  globalThis.process?.getBuiltinModule?.('node:zlib')?.crc32 ?? plainCrc32
