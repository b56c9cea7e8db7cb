// The table of ONNX Runtime's C interface against its header: places of functions in it, and types of what they take.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { enumsOf, prototypeOf } from '../../../test/headers.ts'
import { ACTIONS, FATAL, GET_ERROR_MESSAGE, GETTERS, MAKERS, RELEASES } from './c.node.ts'

const header = readFileSync(new URL('../../../test/fixtures/onnxruntime/c-api.h', import.meta.url), 'utf8')
const [, table] = header.split('\n\n')
/** Names in their order: those of prototypes, and those that comments list. */
const places = table.split('\n').flatMap(line => {
  const name = /(\w+)\(/.exec(line)?.[1]
  return name ? [name] : line.replace('//', '').split(' ').filter(Boolean)
})

type Declared = readonly [place: number, result: string, ...types: string[]]
const [P, STATUS] = ['void *', 'void *']
const functions: [name: string, declared: Declared][] = [
  ...Object.entries(MAKERS).map(([name, [place, ...types]]) => [name, [place, STATUS, ...types, P]] as const),
  ...Object.entries(ACTIONS).map(([name, [place, ...types]]) => [name, [place, STATUS, ...types]] as const),
  ...Object.entries(GETTERS),
  ...Object.entries(RELEASES).map(([name, place]) => [name, [place, 'void', P]] as const),
  ['GetErrorMessage', [GET_ERROR_MESSAGE, P, P]] as const,
].map(([name, declared]) => [name, [...declared]])

test.each(functions)('%s', (name, [place, ...types]) => {
  expect(places.indexOf(name)).toBe(place)
  const flat = (type: string) => (type.includes('*') ? 'a pointer' : type)
  expect(types.map(flat)).toEqual(prototypeOf(table, name).map(flat))
})

test('enumerations', () => {
  const enums = enumsOf(header)
  expect(enums.get('ORT_LOGGING_LEVEL_FATAL')).toBe(FATAL)
  for (const name of ['OrtDeviceAllocator', 'OrtMemTypeDefault', 'OrtHardwareDeviceType_CPU'])
    expect(enums.get(name)).toBe(0)
})
