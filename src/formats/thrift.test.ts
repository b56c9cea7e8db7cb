import { expect, test } from 'vitest'
import { checkStruct } from './thrift.ts'

const check =
  (...bytes: number[]) =>
  () =>
    checkStruct(Uint8Array.from(bytes))

test('passes over every kind of value', () => {
  const list = [0x19, 0x25, 2, 4] // two i32
  const booleans = [0x19, 0x11, 1]
  const text = [0x18, 2, 65, 66]
  const inner = [0x1c, 0x13, 7, 0]
  const far = [0x06, 0xc8, 0x01, 0x80, 0x01] // field 100, an i64
  const real = [0x17, ...new Array(8).fill(1)]
  expect(check(0x11, 0x12, ...list, ...booleans, ...text, ...inner, ...far, ...real, 0)).not.toThrow()
})

test('tells integers, by the fields that they are in, and where it ends', () => {
  const inner = [0x2c, 0x15, 3, 0x25, 8, 0] // field 3: i32 1 = -2, 3 = 4
  const bytes = Uint8Array.from([0x15, 2, ...inner, 0x19, 0x25, 2, 4, 0x06, 0xc8, 0x01, 0x80, 0x01, 0, 77])
  const found: [string, number][] = []
  expect(checkStruct(bytes, (...one) => found.push(one))).toBe(bytes.length - 1)
  expect(found).toEqual([
    ['1', 1],
    ['3.1', -2],
    ['3.3', 4],
    ['100', 64],
  ])
})

test.each<[string, number[], string]>([
  ['a list of more than there is', [0x19, 0xfc, 0x80, 0x80, 0x40, 0], 'a list of 1048576 in 1 bytes'],
  ['a text of more than there is', [0x18, 0x7f, 65, 0], 'beyond the metadata'],
  ['a struct without end', [0x15, 2], 'Offset is outside'],
  ['an unknown type', [0x1d, 0], 'a value of type 13'],
])('refuses %s', (_, bytes, problem) => {
  expect(check(...bytes)).toThrow(RangeError)
  expect(check(...bytes)).toThrow(problem)
})

test('structs without end are no crash', () => {
  expect(() => checkStruct(new Uint8Array(1e6).fill(0x1c))).toThrow(RangeError)
})
