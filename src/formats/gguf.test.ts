import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type BuiltGguf,
  bool,
  buildGguf,
  f32,
  f32Tensor,
  ggufSource,
  text,
  texts,
  u32,
} from '../../test/gguf-builder.ts'
import { memorySource } from '../base/bytes.ts'
import { FormatError, UsageError } from '../base/errors.ts'
import { openGguf } from './gguf.ts'

const small: BuiltGguf = {
  metadata: [
    ['general.architecture', text('llama')],
    ['a.count', u32(7)],
    ['a.real', f32(0.5)],
    ['a.flag', bool(true)],
    ['a.big', { type: 'u64', value: 2n ** 63n }],
    ['a.long', { type: 'i64', value: -5n }],
    ['a.words', texts(['x', '', 'é▁'])],
    ['a.nested', { type: 'array', of: 9, items: [texts(['deep'])] }],
  ],
  tensors: [f32Tensor('m', [2, 3], [1, 2, 3, 4, 5, 6]), f32Tensor('v', [2], [-1, 0.25])],
}
const megabytes = f32Tensor('w', [2 ** 19], new Float32Array(2 ** 19))
/** So many zeros of type u8. */
function bytesArray(length: number): Uint8Array {
  const bytes = new Uint8Array(12 + length)
  new DataView(bytes.buffer).setBigUint64(4, BigInt(length), true)
  return bytes
}
const tensor = (patch: object) => ({ ...small, tensors: [{ ...small.tensors![0], ...patch }] })

describe('openGguf', () => {
  test.each([2, 3])('version %i: metadata, shapes slowest first, values', async version => {
    const source = ggufSource({ ...small, version })
    const { metadata, tensors, byteLength, rawValue, rawBytes } = await openGguf(source)
    expect(Object.fromEntries(metadata)).toEqual({
      'general.architecture': 'llama',
      'a.count': 7,
      'a.real': 0.5,
      'a.flag': true,
      'a.big': 2n ** 63n,
      'a.long': -5,
      'a.words': ['x', '', 'é▁'],
      'a.nested': [['deep']],
    })
    expect(tensors.tensors.get('m')).toMatchObject({ dtype: 'F32', shape: [2, 3] })
    expect(await tensors.float32('m')).toEqual(Float32Array.of(1, 2, 3, 4, 5, 6))
    expect(await tensors.rows('m', Int32Array.of(1))).toEqual(Float32Array.of(4, 5, 6))
    expect(await tensors.bytes('v')).toEqual(new Uint8Array(Float32Array.of(-1, 0.25).buffer))
    expect(byteLength).toBe(source.byteLength)
    for (const key of metadata.keys()) expect(rawBytes(key)).toBe((await rawValue(key)).byteLength)
  })

  test('F16 and BF16 are converted', async () => {
    const { tensors } = await openGguf(
      ggufSource({
        tensors: [
          { name: 'h', shape: [2], type: 1, bytes: new Uint8Array(Uint16Array.of(0x3c00, 0xc000).buffer) },
          { name: 'b', shape: [2], type: 30, bytes: new Uint8Array(Uint16Array.of(0x3f80, 0xc000).buffer) },
        ],
      }),
    )
    expect(await tensors.float32('h')).toEqual(Float32Array.of(1, -2))
    expect(await tensors.float32('b')).toEqual(Float32Array.of(1, -2))
  })

  test('a header of several reads', async () => {
    const words = Array.from({ length: 200_000 }, (_, i) => `word number ${i}`)
    const { metadata, tensors } = await openGguf(ggufSource({ ...small, metadata: [['words', texts(words)]] }))
    expect(metadata.get('words')).toEqual(words)
    expect(await tensors.float32('v')).toEqual(Float32Array.of(-1, 0.25))
  })

  test('a quantised tensor has no dense bytes', async () => {
    const bytes = new Uint8Array(68).fill(0x3c, 34, 36).fill(2, 36) // the second row: a scale of 1.06 and 32 times 2
    const { tensors } = await openGguf(ggufSource(tensor({ type: 8, shape: [2, 32], bytes })))
    await expect(tensors.bytes('m')).rejects.toThrow(UsageError)
    const values = await tensors.float32('m')
    expect([values[31], values[32]]).toEqual([0, 2.1171875])
    expect(await tensors.rows('m', Int32Array.of(1))).toEqual(values.subarray(32))
  })

  const broken: [string, BuiltGguf, RegExp][] = [
    ['another magic', { ...small, magic: 'GGML' }, /not a GGUF file/],
    ['version 1', { ...small, version: 1 }, /version 1; versions 2 and 3/],
    ['big-endian', { ...small, bigEndian: true }, /big-endian/],
    ['absurd tensor count', { ...small, tensorCount: 2n ** 40n }, /number of tensors is 1099511627776/],
    ['absurd pair count', { ...small, pairCount: 2n ** 40n }, /number of metadata pairs/],
    ['very many tensors', { tensors: [megabytes], tensorCount: 60_000n }, /60000; 50000 are allowed/],
    ['very many pairs', { tensors: [megabytes], pairCount: 20_000n }, /20000; 10000 are allowed/],
    [
      'very many values, in two arrays',
      {
        metadata: ['k', 'l'].map(key => [key, { type: 'raw', number: 9, bytes: bytesArray(2 ** 20) }] as const),
      },
      /"l" has 1048576 elements; 2097152 are allowed in all/,
    ],
    ['a count above 2^53', { ...small, pairCount: 2n ** 60n }, /above 2\^53/],
    ['one pair too many', { ...small, pairCount: 9n }, /./],
    ['absurd string', { metadata: [['k', { type: 'string', value: 'x', length: 10_000n }]] }, /"k" needs 10000 bytes/],
    ['huge string', { metadata: [['k', { type: 'string', value: 'x', length: 2n ** 40n }]] }, /16777216 are allowed/],
    [
      'absurd array',
      { metadata: [['k', { type: 'array', of: 4, items: [], length: 9999n }]] },
      /"k" needs 39996 bytes/,
    ],
    ['huge array', { metadata: [['k', { type: 'array', of: 8, items: [], length: 2n ** 50n }]] }, /elements/],
    [
      'unknown value type',
      { metadata: [['k', { type: 'raw', number: 77, bytes: new Uint8Array(64) }]] },
      /type number 77/,
    ],
    ['a boolean of 2', { metadata: [['k', { type: 'bool', value: 2 }]] }, /boolean with value 2/],
    ['invalid UTF-8', { metadata: [['k', { type: 'string', value: Uint8Array.of(0xff, 0xfe) }]] }, /UTF-8/],
    [
      'a key twice',
      {
        ...small,
        metadata: [
          ['k', u32(1)],
          ['k', u32(2)],
        ],
      },
      /"k" appears twice/,
    ],
    ['a tensor twice', { ...small, tensors: [small.tensors![0], small.tensors![0]] }, /"m" appears twice/],
    ['alignment 48', { ...small, metadata: [['general.alignment', u32(48)]] }, /alignment is 48/],
    ['alignment 0', { ...small, metadata: [['general.alignment', u32(0)]] }, /alignment is 0/],
    ['alignment as text', { ...small, metadata: [['general.alignment', text('32')]] }, /alignment is "32"/],
    [
      'alignment as large numbers',
      { ...small, metadata: [['general.alignment', { type: 'array', of: 10, items: [{ type: 'u64', value: 32n }] }]] },
      /alignment is \[32\]/,
    ],
    ['an offset off the alignment', tensor({ offset: 8 }), /no multiple of the alignment 32/],
    ['an offset outside', tensor({ shape: [20, 30] }), /ends at byte/],
    ['no dimensions', tensor({ shape: [] }), /0 dimensions/],
    ['five dimensions', tensor({ shape: [1, 1, 1, 2, 3] }), /5 dimensions/],
    ['a dimension of 0', tensor({ shape: [0, 3] }), /1 or more/],
    ['a product above 2^53', tensor({ shape: [2 ** 30, 2 ** 30] }), /below 2\^53/],
    ['a product that wraps in 64 bits', tensor({ shape: [2 ** 33, 2 ** 33] }), /below 2\^53/],
    ['a dimension above 2^53', tensor({ shape: [2n ** 60n] }), /above 2\^53/],
    ['a row of half a block', tensor({ type: 2, shape: [2, 48] }), /rows of 48 elements, no multiple of the 32/],
    ['an unread type', tensor({ type: 16 }), /"m" has type IQ2_XXS.*Supported: F32/],
    ['an unknown type', tensor({ type: 999 }), /"m" has type number 999/],
    [
      'overlapping tensors',
      { tensors: [f32Tensor('a', [16], new Array(16).fill(1)), { ...f32Tensor('b', [4], [1, 2, 3, 4]), offset: 32 }] },
      /"a" and "b" overlap/,
    ],
  ]
  test.each(broken)('refuses %s', async (_, file, message) => {
    const error = await openGguf(ggufSource(file)).catch(error => error)
    expect(error).toBeInstanceOf(FormatError)
    expect(error.message).toMatch(message)
    expect(error.message).toContain('built.gguf')
  })

  test('refuses arrays nested without end', async () => {
    const level = Uint8Array.of(9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0)
    const bytes = new Uint8Array(12 * 10_000)
    for (let i = 0; i < bytes.length; i += 12) bytes.set(level, i)
    await expect(openGguf(ggufSource({ metadata: [['k', { type: 'raw', number: 9, bytes }]] }))).rejects.toThrow(
      /nested/,
    )
  })

  test('refuses every truncation', async () => {
    const bytes = buildGguf(small)
    for (let length = 0; length < bytes.length; length++)
      await expect(openGguf(memorySource(bytes.subarray(0, length)))).rejects.toThrow(FormatError)
  })

  test('any damage to the header is refused or read, nothing else', async () => {
    const bytes = buildGguf(small)
    const change = fc.tuple(fc.nat(bytes.length - 1), fc.nat(255))
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async changes => {
        const damaged = bytes.slice()
        for (const [at, value] of changes) damaged[at] = value
        const result = await openGguf(memorySource(damaged)).catch(error => error)
        expect(result instanceof FormatError || result.metadata instanceof Map).toBe(true)
      }),
      { numRuns: 500 },
    )
  })

  test('a file cut after it was opened', async () => {
    const source = memorySource(buildGguf(small))
    const { tensors } = await openGguf(source)
    source.slice = async () => new ArrayBuffer(3)
    await expect(tensors.float32('v')).rejects.toThrow(/cut short: "v"/)
    await expect(tensors.float32('w')).rejects.toThrow(/no tensor "w"/)
  })
})
