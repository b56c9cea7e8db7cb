import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { elementsOf, firstNotFinite, fromFloat32, isDType, toFloat32 } from './dtype.ts'

const bytesOf = (view: ArrayBufferView<ArrayBuffer>) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
const allPatterns = Uint16Array.from({ length: 65536 }, (_, i) => i)
const half = (x: number) => new Uint16Array(fromFloat32(Float32Array.of(x), 'F16').buffer)[0]
const bfloat = (x: number) => new Uint16Array(fromFloat32(Float32Array.of(x), 'BF16').buffer)[0]

/** Value of a half by its definition, independent of the code under test. */
function halfValue(pattern: number): number {
  const sign = pattern >= 0x8000 ? -1 : 1
  const exponent = Math.floor(pattern / 1024) % 32
  const mantissa = pattern % 1024
  if (exponent === 31) return mantissa === 0 ? sign * Infinity : NaN
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1 + mantissa / 1024) * 2 ** (exponent - 15)
}

describe('F16', () => {
  test('every pattern has the value of its definition and survives the round trip', () => {
    const values = toFloat32(bytesOf(allPatterns), 'F16')
    for (let i = 0; i < 65536; i++)
      if (!Object.is(values[i], halfValue(i))) expect([i, values[i]]).toEqual([i, halfValue(i)])
    expect(new Uint16Array(fromFloat32(values, 'F16').buffer)).toEqual(allPatterns)
  })

  test('rounds to the nearest, ties to even', () => {
    const limit = fc.float({ min: Math.fround(-65519), max: Math.fround(65519), noNaN: true })
    fc.assert(
      fc.property(limit, x => {
        const h = half(x)
        const error = Math.abs(halfValue(h) - x)
        for (const neighbour of [h - 1, h + 1]) {
          if (neighbour < 0 || neighbour > 65535 || !Number.isFinite(halfValue(neighbour))) continue
          const other = Math.abs(halfValue(neighbour) - x)
          expect(error < other || (error === other && h % 2 === 0) || halfValue(neighbour) === halfValue(h)).toBe(true)
        }
      }),
    )
    expect(half(1 + 2 ** -11)).toBe(0x3c00)
    expect(half(1 + 3 * 2 ** -11)).toBe(0x3c02)
  })

  test('halfway between any two neighbours the even one is taken', () => {
    const middles = new Float32Array(0x7c00)
    for (let i = 0; i < 0x7bff; i++) middles[i] = (halfValue(i) + halfValue(i + 1)) / 2
    middles[0x7bff] = 65520
    const halves = new Uint16Array(fromFloat32(middles, 'F16').buffer)
    for (let i = 0; i < 0x7c00; i++) expect(halves[i]).toBe(i + (i % 2))
  })

  test('overflow is infinite, underflow is zero with its sign, NaN stays NaN', () => {
    expect(half(65519)).toBe(0x7bff)
    expect(half(65520)).toBe(0x7c00)
    expect(half(-1e38)).toBe(0xfc00)
    expect(half(-Infinity)).toBe(0xfc00)
    expect(half(2 ** -25)).toBe(0)
    expect(half(-(2 ** -26))).toBe(0x8000)
    expect(half(2 ** -25 * 1.001)).toBe(1)
    const nan = new Float32Array(Uint32Array.of(0xff800001).buffer) // payload below the half's ten bits
    expect(toFloat32(fromFloat32(nan, 'F16'), 'F16')[0]).toBeNaN()
  })
})

describe('BF16', () => {
  test('every pattern survives the round trip', () => {
    expect(new Uint16Array(fromFloat32(toFloat32(bytesOf(allPatterns), 'BF16'), 'BF16').buffer)).toEqual(allPatterns)
  })

  test('rounds to the nearest, ties to even, without turning NaN into infinity', () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), x => {
        const [low, high] = Float32Array.of(x, x)
        const rounded = toFloat32(fromFloat32(Float32Array.of(low), 'BF16'), 'BF16')[0]
        expect(
          Number.isFinite(rounded)
            ? Math.abs(rounded - high) <= Math.abs(high) * 2 ** -8 + 2 ** -134
            : Math.abs(x) > 3.38e38,
        ).toBe(true)
      }),
    )
    expect(bfloat(1 + 2 ** -8)).toBe(0x3f80)
    expect(bfloat(1 + 3 * 2 ** -8)).toBe(0x3f82)
    expect(bfloat(-1 - 3 * 2 ** -8)).toBe(0xbf82)
    expect(bfloat(3.4028234663852886e38)).toBe(0x7f80)
    const nan = new Float32Array(Uint32Array.of(0x7f800001).buffer)
    expect(toFloat32(fromFloat32(nan, 'BF16'), 'BF16')[0]).toBeNaN()
  })
})

describe('other types', () => {
  test('F32 and F64 survive the round trip', () => {
    fc.assert(
      fc.property(fc.float32Array(), x => {
        const values = Float32Array.from(x)
        expect(toFloat32(fromFloat32(values, 'F32'), 'F32')).toEqual(values)
        expect(toFloat32(fromFloat32(values, 'F64'), 'F64')).toEqual(values)
      }),
    )
  })

  test('integers and booleans', () => {
    expect([...toFloat32(bytesOf(BigInt64Array.of(-1n, 2n ** 40n)), 'I64')]).toEqual([-1, 2 ** 40])
    expect([...toFloat32(bytesOf(Int32Array.of(-5, 7)), 'I32')]).toEqual([-5, 7])
    expect([...toFloat32(bytesOf(Int16Array.of(-300)), 'I16')]).toEqual([-300])
    expect([...toFloat32(bytesOf(Int8Array.of(-3)), 'I8')]).toEqual([-3])
    expect([...toFloat32(Uint8Array.of(200), 'U8')]).toEqual([200])
    expect([...toFloat32(Uint8Array.of(0, 1), 'BOOL')]).toEqual([0, 1])
  })

  test('bytes at an odd offset', () => {
    const odd = new Uint8Array(9)
    odd.set(bytesOf(Float32Array.of(1.5, -2)), 1)
    expect([...toFloat32(odd.subarray(1), 'F32')]).toEqual([1.5, -2])
  })

  test('the first element that is no finite float32, in every type, at any offset', () => {
    for (const pattern of allPatterns)
      for (const [type, value] of [
        ['F16', halfValue(pattern)],
        ['BF16', new Float32Array(Uint32Array.of(pattern << 16).buffer)[0]],
      ] as const)
        if (firstNotFinite(bytesOf(Uint16Array.of(0, pattern)), type) !== (Number.isFinite(value) ? -1 : 1))
          expect.fail(`${type} ${pattern.toString(16)}, which is ${value}`)
    for (const bad of [Infinity, -Infinity, NaN]) {
      expect(firstNotFinite(Float32Array.of(1, 3.4e38, bad), 'F32')).toBe(2)
      expect(firstNotFinite(Float64Array.of(bad, 1), 'F64')).toBe(0)
    }
    expect(firstNotFinite(Float64Array.of(1, 1e39), 'F64')).toBe(1)
    expect(firstNotFinite(Int16Array.of(-1), 'I16')).toBe(-1)
    for (const type of ['F32', 'F16', 'BF16'] as const)
      for (let length = 1; length <= 5; length++)
        for (let bad = 0; bad < length; bad++) {
          const values = new Float32Array(length).fill(-1)
          values[bad] = -Infinity
          expect(firstNotFinite(fromFloat32(values, type), type), `${type} ${length}`).toBe(bad)
        }
    const odd = new Uint8Array(5)
    odd.set(bytesOf(Uint16Array.of(0x3f80, 0x7f80)), 1)
    expect(firstNotFinite(odd.subarray(1), 'BF16')).toBe(1)
  })

  test('elements to be moved are views of their size', () => {
    const values = Float32Array.of(1.5, 0, -2)
    for (const type of ['F64', 'F32', 'F16', 'BF16'] as const) {
      const bytes = fromFloat32(values, type)
      const elements = elementsOf(bytes, type)
      expect([elements.buffer, elements.length, elements[1]]).toEqual([bytes.buffer, 3, 0])
    }
  })

  test('refuses half an element and knows the types', () => {
    expect(() => toFloat32(new Uint8Array(3), 'F16')).toThrow('no whole number of F16')
    expect(isDType('BF16')).toBe(true)
    expect(isDType('toString')).toBe(false)
  })
})
