// The codes in the blocks of GGUF types, which quantisers and GPTQ (write/gguf/gptq.ts) set. `gguf-dequantize.ts` has
// the formulas. Source: ggml/src/ggml-common.h.
import type { QuantizedType } from './tensors.ts'

type Bytes = Uint8Array<ArrayBuffer>

export interface BlockCodes {
  /** Codes are 0 to `levels − 1`, in the order of the values that they stand for. */
  readonly levels: number
  /** The bytes of a block that hold codes: from (included) and to (excluded). */
  readonly from: number
  readonly to: number
  /** What these bytes are where all codes are the least, and the greatest. */
  readonly least: number
  readonly greatest: number
  /**
   * The code of zero where a block has one scale d (float16, first): d (q − zero). 'own': d q + m (m float16, after d).
   * Undefined where blocks have several scales.
   */
  readonly zero?: number | 'own'
  /** Puts the codes of one block into its bytes at `base`, which are zeros. */
  put(q: Uint8Array, out: Bytes, base: number): void
}

const fields = (
  bits: number,
  from: number,
  to: number,
  zero: BlockCodes['zero'],
  put: BlockCodes['put'],
): BlockCodes => ({
  ...{ levels: 2 ** bits, from, to, least: 0, greatest: 255, zero, put },
})

export const BLOCK_CODES: Readonly<Record<QuantizedType, BlockCodes>> = {
  // int8, of which ggml leaves −128 out
  Q8_0: {
    levels: 255,
    from: 2,
    to: 34,
    least: 129,
    greatest: 127,
    zero: 127,
    put: (q, out, base) =>
      out.set(
        q.map(c => c + 129),
        base + 2,
      ),
  },
  Q4_0: fields(4, 2, 18, 8, (q, out, base) => putNibbles(q, out, base + 2)),
  Q4_1: fields(4, 4, 20, 'own', (q, out, base) => putNibbles(q, out, base + 4)),
  Q5_0: fields(5, 2, 22, 16, (q, out, base) => putFiveBits(q, out, base + 2)),
  Q5_1: fields(5, 4, 24, 'own', (q, out, base) => putFiveBits(q, out, base + 4)),
  Q4_K: fields(4, 16, 144, undefined, (q, out, base) => putSubBlocks(q, out, base + 16)),
  Q5_K: fields(5, 16, 176, undefined, (q, out, base) => {
    for (let i = 0; i < 256; i++) out[base + 16 + (i & 31)] |= (q[i] >> 4) << (i >> 5)
    putSubBlocks(q, out, base + 48)
  }),
  Q6_K: fields(6, 0, 192, undefined, putSixBits),
}

/** [16 bytes]: the low halves of a block of 32. */
function putNibbles(q: Uint8Array, out: Bytes, at: number): void {
  for (let j = 0; j < 32; j++) out[at + (j & 15)] |= (q[j] & 15) << (j < 16 ? 0 : 4)
}

/** [4 bytes of fifth bits, 16 bytes] */
function putFiveBits(q: Uint8Array, out: Bytes, at: number): void {
  for (let j = 0; j < 32; j++) out[at + (j >> 3)] |= (q[j] >> 4) << (j & 7)
  putNibbles(q, out, at + 4)
}

/** [128 bytes]: the low halves of a block of 256. */
function putSubBlocks(q: Uint8Array, out: Bytes, at: number): void {
  for (let i = 0; i < 256; i++) out[at + (i >> 6) * 32 + (i & 31)] |= (q[i] & 15) << (((i >> 5) & 1) * 4)
}

/** [128 bytes of low halves, 64 bytes of high two bits] */
function putSixBits(q: Uint8Array, out: Bytes, base: number): void {
  for (let i = 0; i < 256; i++) {
    const group = i >> 5 // of 32 values; four share bytes
    out[base + (group >> 2) * 64 + (group & 1) * 32 + (i & 31)] |= (q[i] & 15) << ((group & 2) * 2)
    out[base + 128 + (group >> 2) * 32 + (i & 31)] |= (q[i] >> 4) << ((group & 3) * 2)
  }
}
