import { describe, expect, test } from 'vitest'
import { nightly } from '../../test/nightly.ts'
import { FormatError } from './errors.ts'
import { describeValue, parseJson, parseJsonObject, parseStrictJsonObject } from './json.ts'

const utf8 = (text: string) => new TextEncoder().encode(text)

describe('parseJson', () => {
  const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)

  test('counts levels outside strings only', () => {
    expect(parseJson(`{"a\\"[[[{{{":${nested(63)}}`, 64)).toBeTypeOf('object')
    expect(() => parseJson(`{"a":${nested(64)}}`, 64)).toThrow('nested 65 deep, allowed are 64')
    expect(() => parseJson(nested(1e6))).toThrow(SyntaxError)
  })

  test.each(['[]', '{}', '[0]', '{"a":1}'])('%s is read 250,000 times, refused a million times', item => {
    const list = (length: number) => `[${new Array(length).fill(item)}]`
    expect(parseJson(list(250_000))).toHaveLength(250_000)
    expect(() => parseJson(list(1e6))).toThrow(/lists and objects and .* values, too many/)
  })

  nightly('a vocabulary of the largest kind is read', () => {
    const vocabulary = Object.fromEntries(Array.from({ length: 3e5 }, (_, id) => [`token number ${id}`, id]))
    const merges = Array.from({ length: 5e5 }, (_, id) => ['first half of', `token number ${id}`])
    const tokenizer = { model: { vocab: vocabulary, merges } }
    for (const text of [JSON.stringify(tokenizer), JSON.stringify(tokenizer, null, 2)])
      expect(parseJson(text)).toHaveProperty('model.merges.499999')
  })

  test('so is one like that of Gemma 3, of short tokens', () => {
    const added_tokens = Array.from({ length: 6414 }, (_, id) => ({
      id,
      content: `<${id}>`,
      special: false,
      normalized: false,
    }))
    const vocab = Object.fromEntries(Array.from({ length: 262_144 }, (_, id) => [`t${id}`, id]))
    const merges = Array.from({ length: 513_511 }, (_, id) => ['t', `${id % 262_144}`])
    expect(parseJson(JSON.stringify({ added_tokens, model: { vocab, merges } }))).toHaveProperty('model.merges.513510')
  })
})

describe('parseStrictJsonObject', () => {
  const read = (text: string) => parseStrictJsonObject(utf8(text), 'a.json')

  test('takes one name in several objects', () => {
    expect(read('{"a":{"a":[{"a":1},{"a":2}]},"b":"\\"a\\":","__proto__":3}')).toHaveProperty('a.a.1.a', 2)
  })

  test.each(['{"a":1,"a":2}', '{"b":[{"a":1,"\\u0061":2}]}', '{"a":{},"c":[":"],"a":{}}'])('refuses %s', text => {
    expect(() => read(text)).toThrow(new FormatError('a.json', 'the file has "a" twice; every name must be there once'))
  })
})

test('text after a byte order mark; nothing but objects', () => {
  expect(parseJsonObject(utf8('\ufeff{"a":1}'), 'a.json')).toEqual({ a: 1 })
  for (const text of ['', '1', '[]', 'null', '{"a"', `{"a":${'['.repeat(100)}`])
    expect(() => parseJsonObject(utf8(text), 'a.json')).toThrow(FormatError)
})

test('any value has a short description', () => {
  const deep = JSON.parse('['.repeat(2e4) + ']'.repeat(2e4))
  const values = [
    { toString: 0 },
    deep,
    'x\n'.repeat(1e6),
    [2n ** 63n, 1, 'a'],
    1e300,
    null,
    undefined,
    true,
    2n ** 63n,
  ]
  expect(values.map(describeValue)).toEqual([
    'an object',
    'a list of 1',
    JSON.stringify(`${'x\n'.repeat(40)}…`),
    '[9223372036854775808,1,"a"]',
    ...['1e+300', 'null', 'undefined', 'true', '9223372036854775808'],
  ])
})
