import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { describeShared, sharedPath } from '../../test/shared.ts'
import { TINY_OPT } from '../../test/tiny.ts'
import { concat, dict, op, type PickledTensor, pickle, tensor, torchFile, zipFile } from '../../test/torch-file.ts'
import { memorySource } from '../base/bytes.ts'
import { FormatError } from '../base/errors.ts'
import { openTorch } from './torch.ts'

const six = Float32Array.of(0, 1, 2, 3, 4, 5)
const matrix: PickledTensor = { length: 6, shape: [2, 3], strides: [3, 1] }
const open = (bytes: Uint8Array) => openTorch(memorySource(bytes, 'm.bin'))
const openDict = (entries: Record<string, Uint8Array>) => open(torchFile(pickle(dict(entries)), { 0: six }))

async function refused(bytes: Uint8Array, message: string) {
  const error = await open(bytes).then(
    () => undefined,
    e => e,
  )
  expect(error).toBeInstanceOf(FormatError)
  expect(error.message).toContain('m.bin')
  expect(error.message).toContain(message)
}

describe('reading', () => {
  test('contiguous, transposed, sliced, shared and empty tensors', async () => {
    const opened = await openDict({
      w: tensor(matrix),
      t: tensor({ ...matrix, shape: [3, 2], strides: [1, 3] }),
      row: tensor({ ...matrix, offset: 3, shape: [1, 3], strides: [77, 1] }),
      column: tensor({ ...matrix, offset: 1, shape: [2], strides: [3] }),
      cube: tensor({ ...matrix, shape: [3, 1, 2], strides: [1, 9, 3] }),
      stack: tensor({ ...matrix, shape: [3, 2, 1], strides: [2, 1, 1] }),
      scalar: tensor({ ...matrix, offset: 5, shape: [], strides: [] }),
      none: tensor({ ...matrix, offset: 6, shape: [0, 3], strides: [3, 1] }),
    })
    expect(opened.tensors.get('t')).toEqual({ name: 't', dtype: 'F32', shape: [3, 2] })
    const values = async (name: string) => [...(await opened.float32(name))]
    expect(await values('w')).toEqual([0, 1, 2, 3, 4, 5])
    expect(await values('t')).toEqual([0, 3, 1, 4, 2, 5])
    expect([...(await opened.rows('w', Int32Array.of(1)))]).toEqual([3, 4, 5])
    expect([...(await opened.rows('t', Int32Array.of(0, 2)))]).toEqual([0, 3, 2, 5])
    expect([...(await opened.rows('cube', Int32Array.of(0, 2)))]).toEqual([0, 3, 2, 5])
    expect([...(await opened.rows('stack', Int32Array.of(1)))]).toEqual([2, 3])
    expect(await values('row')).toEqual([3, 4, 5])
    expect(await values('column')).toEqual([1, 4])
    expect(await values('cube')).toEqual([0, 3, 1, 4, 2, 5])
    expect(await values('scalar')).toEqual([5])
    expect(await values('none')).toEqual([])
    await expect(opened.float32('x')).rejects.toThrow('no tensor "x"')
  })

  test.each(['state_dict', 'model'])('a dict of tensors alone under %j', async key => {
    const opened = await openDict({ [key]: dict({ w: tensor(matrix) }), epoch: op.int(3) })
    expect([...opened.tensors.keys()]).toEqual(['w'])
  })

  test('every allowed type', async () => {
    const bytes = new Uint8Array(48)
    const types = ['Double', 'Float', 'Half', 'BFloat16', 'Long', 'Int', 'Byte', 'Bool']
    const lengths = [6, 12, 24, 24, 6, 12, 48, 48]
    const entries = types.map((type, i) => {
      return [type, tensor({ type: `${type}Storage`, length: lengths[i], shape: [lengths[i]], strides: [1] })] as const
    })
    const members = [
      { name: 'm/data.pkl', data: pickle(dict(Object.fromEntries(entries))) },
      { name: 'm/data/0', data: bytes },
    ]
    const opened = await open(zipFile(members, true))
    expect([...opened.tensors.values()].map(t => t.dtype)).toEqual([
      'F64',
      'F32',
      'F16',
      'BF16',
      'I64',
      'I32',
      'U8',
      'BOOL',
    ])
    for (const name of types) expect((await opened.bytes(name)).byteLength).toBe(48)
  })

  test('an OrderedDict with attributes', async () => {
    const ordered = concat(op.global('collections', 'OrderedDict'), op.emptyTuple, op.reduce)
    const items = concat(op.mark, op.text('w'), tensor(matrix), op.setItems)
    const opened = await open(torchFile(pickle(ordered, items, dict({ _metadata: ordered }), op.build), { 0: six }))
    expect([...opened.tensors.keys()]).toEqual(['w'])
  })
})

describe('refuses to run code', () => {
  const call = concat(op.mark, op.text('echo pwned'), op.tuple, op.reduce)
  test.each([
    ['os.system by REDUCE', pickle(op.global('os', 'system'), call), '"os.system"'],
    ['posix.system', pickle(op.global('posix', 'system'), call), '"posix.system"'],
    ['builtins.eval', pickle(op.global('builtins', 'eval')), '"builtins.eval"'],
    ['a global among tensors', pickle(dict({ w: op.global('torch.nn', 'Linear') })), '"torch.nn.Linear"'],
    ['a name on the list of another module', pickle(op.global('collections.OrderedDict', '__reduce__')), '__reduce__"'],
    ['STACK_GLOBAL', pickle(op.text('os'), op.text('system'), op.byte(0x93)), 'STACK_GLOBAL (0x93) of "os.system"'],
    ['NEWOBJ', pickle(op.emptyDict, op.emptyTuple, op.byte(0x81)), 'NEWOBJ'],
    ['INST', pickle(op.mark, new TextEncoder().encode('ios\nsystem\n')), 'INST'],
    ['OBJ', pickle(op.mark, op.byte(0x6f)), 'OBJ'],
    ['EXT1', pickle(op.byte(0x82, 1)), 'EXT1'],
    ['BUILD of a tensor', pickle(tensor(matrix), op.emptyDict, op.build), 'BUILD'],
    [
      'a call of a storage type',
      pickle(op.global('torch', 'FloatStorage'), op.emptyTuple, op.reduce),
      'calls torch.FloatStorage',
    ],
    ['a call of a text', pickle(op.text('os.system'), op.emptyTuple, op.reduce), 'calls what is no function'],
    ['OrderedDict of arguments', pickle(op.global('collections', 'OrderedDict'), call), 'make no tensor'],
    ['an unknown opcode', pickle(op.byte(0xff)), 'opcode unknown (0xff)'],
    ['protocol 4', concat(op.byte(0x80, 4), op.emptyDict, op.byte(0x2e)), 'protocol 4; allowed is 2'],
  ])('%s', async (_, pickled, message) => refused(torchFile(pickled, { 0: six }), message))
})

/** 300 times a group of 1000 empty dicts, appended to a list. */
const dicts = Array.from({ length: 300 }, () => concat(op.mark, new Uint8Array(1000).fill(0x7d), op.byte(0x65)))

/** A dict of 50 · 999 pairs, whose values are all `value`. */
const manyPairs = (value: Uint8Array): Uint8Array =>
  concat(
    op.emptyDict,
    ...Array.from({ length: 50 }, (_, i) =>
      concat(op.mark, ...Array.from({ length: 999 }, (_, j) => concat(op.text(`${i}.${j}`), value)), op.setItems),
    ),
  )

test('one large dict under very many keys is looked through once', async () => {
  const inner = concat(manyPairs(op.byte(0x4e)), op.byte(0x71, 0)) // kept as value 0 of the memo
  const outer = concat(dict({ x: inner }), manyPairs(op.byte(0x68, 0)).subarray(1))
  await refused(torchFile(pickle(outer)), 'holds 0 dicts of tensors')
}, 10_000)

describe('refuses a broken pickle', () => {
  test.each([
    ['no STOP', concat(op.byte(0x80, 2), op.emptyDict), 'ends early'],
    ['an empty stack', pickle(), 'takes more from its stack'],
    ['a stack that is not used up', pickle(op.no, op.emptyDict), 'leaves values'],
    ['a group without MARK', pickle(op.tuple), 'never began'],
    ['a value below the mark', pickle(op.emptyDict, op.mark, op.byte(0x71, 0)), 'takes more from its stack'],
    ['a memo that was not stored', pickle(op.byte(0x68, 7)), 'recalls value 7'],
    ['items of a number', pickle(op.int(1), op.mark, op.text('a'), op.no, op.setItems), 'no dict'],
    ['an odd number of items', pickle(op.emptyDict, op.mark, op.text('a'), op.setItems), 'no dict'],
    ['a dict as key', pickle(op.emptyDict, op.mark, op.emptyDict, op.no, op.setItems), 'dict key'],
    ['a text beyond the end', pickle(op.byte(0x58, 255, 255, 255, 255)), 'ends early'],
    ['a global without end', pickle(new Uint8Array(400).fill(0x63)), 'does not end within 256'],
    ['an integer beyond 2^53', pickle(op.long(2n ** 60n)), 'beyond 2^53'],
    ['too many values', pickle(new Uint8Array(200_002).fill(0x4e)), 'more than 200000 values'],
    ['too many marks', pickle(new Uint8Array(200_002).fill(0x28)), 'more than 200000 values'],
    ['too many dicts', pickle(op.byte(0x5d), ...dicts), 'more than 200000 values'],
    ['a list', pickle(op.byte(0x5d)), 'no dict of tensors'],
    [
      'two dicts of tensors',
      pickle(dict({ model: dict({ w: tensor(matrix) }), ema: dict({ w: tensor(matrix) }) })),
      '"model", "ema"',
    ],
    ['no tensors', pickle(dict({ a: op.int(1) })), '0 dicts of tensors'],
    ['a dict beside tensors', pickle(dict({ w: tensor(matrix), config: op.emptyDict })), '"config" among its tensors'],
  ])('%s', async (_, pickled, message) => refused(torchFile(pickled, { 0: six }), message))
})

describe('a storage that was changed', () => {
  const changed = (crc?: number) => {
    const members = [
      {
        name: 'm/data.pkl',
        data: pickle(dict({ w: tensor(matrix), row: tensor({ ...matrix, offset: 3, shape: [1, 3] }) })),
      },
      { name: 'm/data/0', data: new Uint8Array(six.buffer.slice(0)), crc },
    ]
    const bytes = zipFile(members)
    const at = Buffer.from(bytes.buffer).indexOf(members[1].data)
    bytes[at] ^= 1
    return bytes
  }

  test('is refused where it is read whole', async () => {
    const opened = await open(changed())
    await expect(opened.float32('w')).rejects.toThrow('m.bin: member "m/data/0" does not match its checksum')
    await expect(opened.bytes('w')).rejects.toThrow(FormatError)
    expect([...(await opened.float32('row'))]).toEqual([3, 4, 5]) // no part can be checked
  })

  test('is read where torch.save computed no checksum', async () => {
    expect((await (await open(changed(0))).float32('w')).subarray(1)).toEqual(six.subarray(1))
  })
})

describe('refuses a tensor', () => {
  test.each<[string, PickledTensor, string]>([
    ['beyond its storage', { ...matrix, shape: [3, 3] }, 'outside its storage'],
    ['with an offset beyond it', { ...matrix, offset: 1 }, 'outside its storage'],
    ['with strides beyond it', { ...matrix, strides: [6, 1] }, 'outside its storage'],
    ['that repeats its elements', { ...matrix, shape: [2 ** 40], strides: [0] }, 'outside its storage'],
    ['with sizes beyond 2^53', { ...matrix, shape: [2 ** 40, 2 ** 40], strides: [0, 0] }, 'outside its storage'],
    ['with a negative size', { ...matrix, shape: [-2, -3] }, 'without storage, offset'],
    ['with a negative stride', { ...matrix, strides: [3, -1] }, 'without storage, offset'],
    ['with a negative offset', { ...matrix, offset: -1 }, 'without storage, offset'],
    ['with too few strides', { ...matrix, strides: [3] }, 'without storage, offset'],
    ['with 17 dimensions', { ...matrix, shape: Array(17).fill(1), strides: Array(17).fill(1) }, 'at most 16'],
    ['whose storage is longer than its member', { ...matrix, length: 7 }, 'has 24 bytes, but 7 elements'],
    ['whose storage has another type', { ...matrix, type: 'HalfStorage' }, 'has 24 bytes, but 6 elements of F16'],
    ['whose storage is missing', { ...matrix, key: '9' }, 'no storage 9'],
    ['whose key is a path', { ...matrix, key: '../data.pkl' }, 'persistent id'],
    ['whose type is no storage', { ...matrix, type: '_utils\n_rebuild_tensor_v2' }, 'refers to'],
  ])('%s', async (_, t, message) => refused(torchFile(pickle(dict({ w: tensor(t) })), { 0: six }), message))
})

describe('refuses an archive', () => {
  const good = pickle(dict({ w: tensor(matrix) }))
  const storage = { name: 'm/data/0', data: new Uint8Array(six.buffer) }
  test.each([
    ['without a pickle', zipFile([storage]), 'has 0 members */data.pkl'],
    ['with two', torchFile(good, { 0: six }, [{ name: 'x/data.pkl', data: good }]), 'has 2 members'],
    [
      'of big-endian numbers',
      torchFile(good, { 0: six }, [{ name: 'm/byteorder', data: new TextEncoder().encode('big') }]),
      '"big"',
    ],
    [
      'of compressed storages',
      zipFile([
        { name: 'm/data.pkl', data: good },
        { ...storage, deflated: true },
      ]),
      'compressed',
    ],
    [
      'with a pickle beyond the limit',
      zipFile([{ name: 'm/data.pkl', data: new Uint8Array(33 * 2 ** 20) }]),
      'allowed are',
    ],
    ['in the legacy format', concat(op.byte(0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9)), 'legacy format'],
    ['that is no zip', new TextEncoder().encode('version https://git-lfs'), 'no zip archive'],
    ['that is empty', new Uint8Array(0), 'no zip archive'],
  ])('%s', async (_, bytes, message) => refused(bytes, message))
})

async function expectTensors(bytes: Uint8Array, name: string, dtype: string, shape: number[]) {
  const opened = await open(bytes)
  expect(opened.tensors.get(name)).toEqual({ name, dtype, shape })
  for (const tensor of opened.tensors.keys()) expect((await opened.float32(tensor)).every(Number.isFinite)).toBe(true)
}

describeShared('files written by PyTorch', () => {
  test.each([
    ['checkpoints/BloomForCausalLM/pytorch_model.bin', 'transformer.word_embeddings.weight', 'F32', [1024, 32]],
    ['checkpoints/candle/test.pt', 'test', 'I64', [2, 4]],
    ['checkpoints/candle/test_with_key.pt', 'test', 'I64', [2, 4]],
    ['checkpoints/torchtune/tiny_fair_checkpoint.pt', 'layers.0.attention.wq.weight', 'F32', [32, 32]],
    ['checkpoints/torchtune/tiny_state_dict_with_one_key.pt', 'test_key', 'F32', [10, 10]],
  ])('%s', (path, name, dtype, shape) => expectTensors(readFileSync(sharedPath(path)), name, dtype, shape))

  test('a tensor in column-major order', async () => {
    const opened = await open(readFileSync(sharedPath('checkpoints/candle/fortran_tensor_3d.pth')))
    expect(opened.tensors.get('tensor_fortran')!.shape).toEqual([2, 3, 4])
    expect([...(await opened.float32('tensor_fortran'))]).toEqual(Array.from({ length: 24 }, (_, i) => i + 1))
  })
})

describe('tiny-opt', () => {
  const whole = readFileSync(join(TINY_OPT, 'pytorch_model.bin'))

  test('whole', () => expectTensors(whole, 'decoder.layers.5.fc1.weight', 'F16', [512, 128]))

  test('cut short anywhere', async () => {
    for (const length of [1, 100, 20_000, 1_000_000, whole.byteLength - 1]) {
      await expect(open(whole.subarray(0, length))).rejects.toThrow(/cut short|no zip archive/)
    }
  })
})
