import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { TINY_LLAMA } from '../../test/fasp.ts'
import { memorySource } from '../base/bytes.ts'
import { FormatError, OutputError } from '../base/errors.ts'
import { fromFloat32 } from './dtype.ts'
import { type DenseTensorInfo, layoutSafetensors, openSafetensors } from './safetensors.ts'

/** A file with this header text and `data` zero bytes after it. */
function file(header: string | object, data = 0, claimed?: bigint) {
  const text = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header))
  const bytes = new Uint8Array(8 + text.byteLength + data)
  new DataView(bytes.buffer).setBigUint64(0, claimed ?? BigInt(text.byteLength), true)
  bytes.set(text, 8)
  return memorySource(bytes, 'm.safetensors')
}
const f32 = (begin: number, end: number, shape = [(end - begin) / 4]) => ({
  dtype: 'F32',
  shape,
  data_offsets: [begin, end],
})

async function refused(source: ReturnType<typeof file>, message: string) {
  const error = await openSafetensors(source).then(
    () => undefined,
    e => e,
  )
  expect(error).toBeInstanceOf(FormatError)
  expect(error.message).toContain(message)
  expect(error.message).toContain('m.safetensors: ')
}

describe('reading', () => {
  test('gives shapes, bytes and values', async () => {
    const source = file(
      { __metadata__: { format: 'pt' }, b: f32(0, 8, [1, 2]), a: f32(8, 12, []), none: f32(8, 8, [0, 7]) },
      12,
    )
    const opened = await openSafetensors(source)
    expect([...opened.tensors.keys()].sort()).toEqual(['a', 'b', 'none'])
    expect(opened.tensors.get('b')).toMatchObject({ name: 'b', dtype: 'F32', shape: [1, 2] })
    expect(await opened.bytes('b')).toEqual(new Uint8Array(8))
    expect(await opened.float32('a')).toEqual(Float32Array.of(0))
    expect(await opened.float32('none')).toEqual(new Float32Array(0))
    await expect(opened.bytes('c')).rejects.toThrow('has no tensor "c"')
  })

  test('accepts a file without tensors', async () => {
    expect((await openSafetensors(file({}))).tensors.size).toBe(0)
  })
})

describe('refuses', () => {
  test.each([
    ['a file of 3 bytes', memorySource(new Uint8Array(3), 'm.safetensors'), 'too few'],
    ['a header beyond the file', file({}, 0, 50n), 'claims a header of 50 bytes'],
    ['a header length of 2^63', file({}, 0, 2n ** 63n), 'claims a header of 9223372036854775808'],
    ['a header beyond 32 MB', { ...file({}, 0, 2n ** 30n), byteLength: 2 ** 40 }, 'at most 32000000'],
    ['no JSON', file('{"a": '), 'not JSON'],
    ['deep JSON', file('{"a":[[[['), 'nested 5 deep, allowed are 3'],
    ['very many values', file(`{"a":[${'{},'.repeat(1e6)}{}]}`), 'values, too many'],
    [
      'a dtype with a toString of its own',
      file({ a: { ...f32(0, 4), dtype: { toString: 0 } } }, 4),
      'has dtype an object',
    ],
    ['a shape of many sizes', file({ a: { ...f32(0, 4), shape: new Array(17).fill(1) } }, 4), 'at most 16'],
    ['no UTF-8', memorySource(Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, 0x22, 0xff), 'm.safetensors'), 'not UTF-8'],
    ['a list', file('[1]'), 'not an object'],
    ['an empty header', file(''), 'not JSON'],
    ['an unknown dtype', file({ a: { ...f32(0, 4), dtype: 'F8_E4M3' } }, 4), 'dtype "F8_E4M3"; allowed are F64'],
    ['a dtype from the prototype', file({ a: { ...f32(0, 4), dtype: 'constructor' } }, 4), 'dtype "constructor"'],
    ['an entry that is a number', file({ a: 3 }), 'no {dtype, shape, data_offsets}'],
    ['a negative size', file({ a: f32(0, 4, [-1, -1]) }, 4), 'non-negative integers'],
    ['half a size', file({ a: f32(0, 2, [0.5]) }, 2), 'non-negative integers'],
    ['a size of 2^53', file('{"a":{"dtype":"F32","shape":[9007199254740993],"data_offsets":[0,4]}}', 4), 'below 2^53'],
    ['a product beyond 2^53', file({ a: f32(0, 4, [2 ** 30, 2 ** 30]) }, 4), 'more than 2^53 bytes'],
    ['sizes that wrap to the right length', file({ a: f32(0, 0, [2 ** 32, 2 ** 32, 0]) }), 'more than 2^53 bytes'],
    [
      'offsets of 2^53',
      file('{"a":{"dtype":"U8","shape":[1],"data_offsets":[9007199254740992,9007199254740993]}}', 4),
      'data_offsets',
    ],
    ['offsets in reverse', file({ a: { ...f32(0, 4), data_offsets: [4, 0] } }, 4), 'data_offsets'],
    ['three offsets', file({ a: { ...f32(0, 4), data_offsets: [0, 4, 8] } }, 4), 'data_offsets'],
    ['a shape that needs more', file({ a: f32(0, 4, [2]) }, 4), 'needs 8'],
    ['data past the end', file({ a: f32(0, 8) }, 4), 'cut short'],
    ['an overlap', file({ a: f32(0, 8), b: f32(4, 12) }, 12), 'tensor "b" overlaps'],
    ['a gap', file({ a: f32(0, 4), b: f32(8, 12) }, 12), '4 bytes before tensor "b"'],
    ['bytes at the end', file({ a: f32(0, 4) }, 6), '2 bytes at the end'],
    ['a name twice', file(`{"a":${JSON.stringify(f32(0, 4))},"\\u0061":${JSON.stringify(f32(4, 8))}}`, 8), '"a" twice'],
    ['metadata that is no string', file({ __metadata__: { format: 1 } }), '__metadata__'],
  ])('%s', async (_, source, message) => refused(source, message))

  test('any cut of a good file', async () => {
    const { header, byteLength } = layoutSafetensors([{ name: 'a', dtype: 'F16', shape: [3] }])
    const whole = new Uint8Array(byteLength)
    whole.set(header)
    for (let length = 0; length < byteLength; length++) {
      await expect(openSafetensors(memorySource(whole.subarray(0, length)))).rejects.toThrow(FormatError)
    }
  })

  test('a file that ends while it is read', async () => {
    const source = file({ a: f32(0, 8) }, 8)
    let headerRead = 0
    const shrinking = {
      ...source,
      slice: (start: number, end = 0) => source.slice(start, headerRead++ < 2 ? end : end - 4),
    }
    await expect((await openSafetensors(shrinking)).bytes('a')).rejects.toThrow('cut short')
  })

  test('a long name full of escapes, twice', async () => {
    const name = `"${'\\\\'.repeat(1e5)}"`
    await refused(file(`{${name}:${JSON.stringify(f32(0, 4))},${name}:${JSON.stringify(f32(4, 8))}}`, 8), 'twice')
  })
})

describe('layout', () => {
  test('orders by dtype, then name, and pads the header to 8 bytes', () => {
    const { header, tensors, byteLength } = layoutSafetensors([
      { name: 'z', dtype: 'BF16', shape: [2] },
      { name: 'b', dtype: 'F32', shape: [1] },
      { name: 'a', dtype: 'BF16', shape: [3, 1] },
      { name: 'é', dtype: 'U8', shape: [] },
    ])
    expect([...tensors.keys()]).toEqual(['b', 'a', 'z', 'é'])
    expect(header.byteLength % 8).toBe(0)
    expect([...tensors.values()].map(t => t.offset - header.byteLength)).toEqual([0, 4, 10, 14])
    expect(byteLength).toBe(header.byteLength + 15)
    expect(new TextDecoder().decode(header.subarray(8))).toMatch(/^\{"__metadata__":\{"format":"pt"\},"b":\{.*\} *$/)
  })

  test('what is laid out is read back', async () => {
    const info = fc.record({
      name: fc.string({ unit: 'grapheme' }).filter(name => name !== '__metadata__'),
      dtype: fc.constantFrom<DenseTensorInfo['dtype']>('F32', 'BF16', 'F16', 'F64', 'I64', 'BOOL'),
      shape: fc.array(fc.nat(5), { maxLength: 4 }),
    })
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(info, { selector: i => i.name, maxLength: 8 }), async infos => {
        const { header, tensors, byteLength } = layoutSafetensors(infos)
        const bytes = new Uint8Array(byteLength)
        bytes.set(header)
        const marks = [...tensors.values()].map((t, i) => bytes.fill(i + 1, t.offset, t.offset + t.byteLength) && t)
        const opened = await openSafetensors(memorySource(bytes))
        expect(opened.tensors.size).toBe(infos.length)
        for (const { name, dtype, shape } of infos) expect(opened.tensors.get(name)).toMatchObject({ dtype, shape })
        for (const [i, t] of marks.entries())
          expect((await opened.bytes(t.name)).every(byte => byte === i + 1)).toBe(true)
      }),
      { numRuns: 50 },
    )
  })

  test('refuses two tensors of one name and the reserved one', () => {
    const a: DenseTensorInfo = { name: 'a', dtype: 'F32', shape: [1] }
    expect(() => layoutSafetensors([a, a])).toThrow(OutputError)
    expect(() => layoutSafetensors([{ ...a, name: '__metadata__' }])).toThrow('reserves')
  })
})

describe('safetensors written by PyTorch', () => {
  test('tiny-llama', async () => {
    const bytes = readFileSync(join(TINY_LLAMA, 'model.safetensors'))
    const opened = await openSafetensors(memorySource(bytes))
    expect(opened.tensors.get('model.embed_tokens.weight')).toMatchObject({ dtype: 'BF16', shape: [1024, 128] })
    const name = 'model.layers.5.mlp.up_proj.weight'
    const values = await opened.float32(name)
    expect(values.every(Number.isFinite)).toBe(true)
    expect(fromFloat32(values, 'BF16')).toEqual(await opened.bytes(name))
    expect(await opened.rows(name, Int32Array.of(3, 4))).toEqual(values.subarray(3 * 128, 5 * 128))
  })

  test('our layout of the same tensors is the header that was written', async () => {
    const bytes = readFileSync(join(TINY_LLAMA, 'model.safetensors'))
    const opened = await openSafetensors(memorySource(bytes))
    const { header, byteLength } = layoutSafetensors([...opened.tensors.values()] as DenseTensorInfo[])
    expect(new TextDecoder().decode(header)).toBe(new TextDecoder().decode(bytes.subarray(0, header.byteLength)))
    expect(byteLength).toBe(bytes.byteLength)
  })
})
