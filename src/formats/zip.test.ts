import { describe, expect, test } from 'vitest'
import { concat, type Member, zipFile } from '../../test/torch-file.ts'
import { memorySource } from '../base/bytes.ts'
import { FormatError } from '../base/errors.ts'
import { openZip } from './zip.ts'

const hello = new TextEncoder().encode('hello')
const open = (bytes: Uint8Array) => openZip(memorySource(bytes, 'm.zip'))

async function read(members: readonly Member[], zip64 = false, limit = 1000) {
  const zip = await open(zipFile(members, zip64))
  return zip.read(zip.members.get(members[0].name)!, limit)
}

test.each([
  ['plain', {}, false],
  ['without a checksum', { crc: 0 }, false],
  ['zip64', {}, true],
])('reads a member: %s', async (_, options, zip64) => {
  expect(
    await read(
      [
        { name: 'a/b', data: hello, ...options },
        { name: 'c', data: hello },
      ],
      zip64,
    ),
  ).toEqual(hello)
})

test('finds the directory before a comment', async () => {
  const bytes = concat(zipFile([{ name: 'a', data: hello }]), new TextEncoder().encode('PK\x05\x06 comment'))
  new DataView(bytes.buffer).setUint16(bytes.byteLength - 12 - 2, 12, true)
  expect([...(await open(bytes)).members.keys()]).toEqual(['a'])
})

describe('refuses', () => {
  test.each(['../a', 'a/../../b', '/etc/passwd', 'C:/a', 'a\\b', 'a\0b', ''])('the name %j', async name => {
    await expect(open(zipFile([{ name, data: hello }]))).rejects.toThrow('leads out of the archive')
  })

  test.each<[string, Member, string]>([
    ['more than the limit', { name: 'a', data: new Uint8Array(1001) }, 'has 1001 bytes, allowed are 1000'],
    [
      'a member that is compressed',
      { name: 'a', data: new Uint8Array(1e6), deflated: true },
      'is compressed (method 8)',
    ],
    ['another checksum', { name: 'a', data: hello, crc: 1 }, '"a" does not match its checksum'],
    ['a stored member of two sizes', { name: 'a', data: hello, size: 6 }, 'is not compressed, but has 5 bytes for 6'],
    ['a member beyond the file', { name: 'a', data: hello, size: 500, packed: 500 }, 'ends beyond the file'],
    ['a header beyond the file', { name: 'a', data: hello, header: 5000 }, 'ends beyond the file'],
    ['a header that is none', { name: 'a', data: hello, header: 3 }, 'no header where the directory says'],
    ['another local name', { name: 'a', data: hello, localName: 'b' }, 'calls itself "b"'],
    ['encryption', { name: 'a', data: hello, flags: 1 }, 'encrypted'],
    ['other methods', { name: 'a', data: hello, method: 12 }, 'is compressed (method 12)'],
  ])('%s', async (_, member, message) => {
    const error = await read([member]).then(
      () => undefined,
      e => e,
    )
    expect(error).toBeInstanceOf(FormatError)
    expect(error.message).toContain(message)
  })

  test('one name twice', async () => {
    const a = { name: 'a', data: hello }
    await expect(open(zipFile([a, a]))).rejects.toThrow('"a" twice')
  })

  test.each([false, true])('any cut of a good file (zip64: %s)', async zip64 => {
    const whole = zipFile([{ name: 'a', data: hello }], zip64)
    for (let length = 0; length < whole.byteLength; length++) {
      await expect(open(whole.subarray(0, length))).rejects.toThrow(FormatError)
    }
  })

  test('sizes of 2^53 in zip64', async () => {
    await expect(open(zipFile([{ name: 'a', data: hello, size: 2 ** 60, packed: 2 ** 60 }], true))).rejects.toThrow(
      'beyond 2^53',
    )
  })

  test('a directory that claims to be elsewhere, or too many members', async () => {
    const bytes = zipFile([{ name: 'a', data: hello }])
    const end = new DataView(bytes.buffer, bytes.byteLength - 22)
    end.setUint32(16, 2 ** 31, true)
    await expect(open(bytes)).rejects.toThrow('outside the file')
    end.setUint32(16, 0, true)
    end.setUint16(10, 9000, true)
    await expect(open(bytes)).rejects.toThrow('outside the file')
  })
})
