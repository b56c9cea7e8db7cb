// Files of weights: torch (zip and pickle), safetensors, GGUF with its checkpoint and tokenizer.

import { concatBytes, memorySource } from '../../src/base/bytes.ts'
import { ggufCheckpoint } from '../../src/checkpoint/gguf.ts'
import { GRAPHS } from '../../src/checkpoint/gguf-architectures.ts'
import { storedName } from '../../src/checkpoint/gguf-names.ts'
import { GGML_TYPES, openGguf } from '../../src/formats/gguf.ts'
import { type GgufType, storedBytes } from '../../src/formats/gguf-layout.ts'
import { layoutSafetensors, openSafetensors } from '../../src/formats/safetensors.ts'
import { openTorch } from '../../src/formats/torch.ts'
import { describeModel } from '../../src/model/model.ts'
import { loadTokenizer } from '../../src/text/tokenizer.ts'
import {
  type BuiltTensor,
  type BuiltValue,
  bool,
  buildGguf,
  f32,
  f32s,
  i32s,
  oneLayer,
  text,
  texts,
  u32,
} from '../gguf-builder.ts'
import { concat, dict, type Member, op, pickle, tensor, zipFile } from '../torch-file.ts'
import { type Dice, jsonCase, mutateBytes } from './mutate.ts'
import { CONFIG, readTensors, type SmallTensor, smallTensors, type Target, tolerate } from './target.ts'
import { withUnknown } from './tokenizers.ts'

const TENSORS = smallTensors(CONFIG)
/** Of the cases, those of some hundred kB. */
const HUGE = 1 / 1000

// torch

const GLOBALS = [
  'torch FloatStorage',
  'torch HalfStorage',
  'collections OrderedDict',
  'torch._utils _rebuild_parameter',
  'os system',
]
const global = (name: string) => op.global(...(name.split(' ') as [string, string]))
const orderedDict = concat(op.global('collections', 'OrderedDict'), op.emptyTuple, op.reduce)
const NAMES = [...TENSORS.map(({ name }) => name), '', '__proto__', 'state_dict', 'x'.repeat(300)]

/** A tensor of one of the storages, as a rule inside it. */
function anyTensor(dice: Dice): Uint8Array {
  const key = dice.below(TENSORS.length)
  const { shape, values } = TENSORS[key]
  const size = (n: number) => dice.or(0.05, n, dice.size)
  const strides = shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1))
  const facts = { key: String(size(key)), length: size(values.length), offset: size(0) }
  const type = dice.or(0.05, 'FloatStorage', () => dice.pick(['HalfStorage', 'LongStorage', 'Storage']))
  return tensor({
    ...facts,
    type,
    shape: shape.map(size),
    strides: dice.or(0.1, strides, () => [...strides].reverse()).map(size),
  })
}

/** Any value as `torch.save` could pickle it, and some opcodes that it could not. */
function anyValue(dice: Dice, depth = 0): Uint8Array {
  const inner = () => anyValue(dice, depth + 1)
  const byte = () => dice.below(256)
  const kinds: (() => Uint8Array)[] = [
    () => anyTensor(dice),
    () => anyTensor(dice),
    () => op.int(dice.size()),
    () => op.long(BigInt(dice.size()) * dice.pick([1n, -1n, 1000n])),
    () => op.text(dice.pick(NAMES)),
    () => op.byte(dice.pick([0x4e, 0x88, 0x89, 0x29, 0x5d, 0x7d])), // None, True, False, (), [], {}
    () =>
      op.byte(
        dice.pick([0x47, 0x4b, 0x4d, 0x55, 0x58, 0x68, 0x6a, 0x71, 0x72, 0x8a, 0x8c]),
        byte(),
        0,
        0,
        0,
        byte(),
        0,
        0,
        0,
      ),
    () => op.byte(byte()),
    () => global(dice.pick(GLOBALS)),
    () => concat(inner(), op.byte(0x71, dice.below(4))), // BINPUT
    () => op.byte(0x68, dice.below(4)), // BINGET
    () => concat(inner(), inner(), op.reduce),
    () => concat(inner(), op.persistent),
    () => concat(orderedDict, inner(), op.build),
    () =>
      concat(
        op.global('torch._utils', '_rebuild_parameter'),
        op.mark,
        inner(),
        op.no,
        orderedDict,
        op.tuple,
        op.reduce,
      ),
    () => concat(op.mark, ...dice.several(4, inner), op.tuple),
    () => concat(op.byte(0x5d), op.mark, ...dice.several(4, inner), op.byte(0x65)),
    () => anyDict(dice, depth + 1),
  ]
  return dice.pick(depth > 3 ? kinds.slice(0, 7) : kinds)()
}

function anyDict(dice: Dice, depth: number): Uint8Array {
  const entries = dice.several(6, () => [
    op.text(dice.pick(NAMES)),
    dice.or(0.3, anyTensor(dice), () => anyValue(dice, depth)),
  ])
  return concat(dice.pick([op.emptyDict, orderedDict]), op.mark, ...entries.flat(), op.setItems)
}

const GOOD_DICT = dict(
  Object.fromEntries(
    TENSORS.map(({ name, shape, values }, key) => [
      name,
      tensor({
        key: String(key),
        length: values.length,
        shape,
        strides: shape.map((_, i) => (i === 0 && shape[1]) || 1),
      }),
    ]),
  ),
)

/** Some hundred kB that are many values, or that take the square of their number of steps. */
function bomb(dice: Dice): Uint8Array {
  const many = (n: number, item: (i: number) => Uint8Array) =>
    concat(op.mark, ...Array.from({ length: n }, (_, i) => item(i)))
  const item = dice.pick([op.emptyDict, op.byte(0x5d), op.emptyTuple, op.byte(0x4e), op.byte(0x4e, 0x85), op.text('a')])
  const group = concat(
    many(50_000, () => item),
    op.byte(0x65),
  )
  const keys = (value: Uint8Array) =>
    concat(
      many(45_000, i => concat(op.int(i), value)),
      op.setItems,
    )
  const square = concat(
    op.emptyDict,
    op.text('a'),
    op.emptyDict,
    op.byte(0x71, 0),
    keys(op.byte(0x4e)),
    op.byte(0x73),
    keys(op.byte(0x68, 0)),
  )
  return dice.or(0.3, concat(op.byte(0x5d), ...new Array<Uint8Array>(20).fill(group)), () => square)
}

function anyMember(member: Member, dice: Dice): Member {
  const changes: readonly (() => Partial<Member>)[] = [
    () => ({ size: dice.size() }),
    () => ({ packed: dice.size() }),
    () => ({ size: dice.below(999), packed: dice.below(999) }),
    () => ({ header: dice.size() }),
    () => ({ flags: dice.below(9) }),
    () => ({ method: dice.pick([1, 8, 0]) }),
    () => ({ deflated: true }),
    () => ({ localName: dice.pick(['', 'm/data/1', '../a']) }),
    () => ({ name: dice.pick(['', 'm/data/1', '../data.pkl', '/data.pkl', 'a/data.pkl', 'm/byteorder', 'm/data/٣']) }),
    () => ({ data: new Uint8Array(dice.below(200)) }),
  ]
  return { ...member, ...dice.pick(changes)() }
}

const torch: Target = {
  cases: 2700,
  make(dice) {
    if (dice.chance(HUGE)) return { 'pytorch_model.bin': zipFile([{ name: 'm/data.pkl', data: pickle(bomb(dice)) }]) }
    const made = dice.or(0.6, GOOD_DICT, () => dice.or(0.3, anyDict(dice, 0), () => anyValue(dice)))
    const data = dice.or(0.4, pickle(made), () => mutateBytes(pickle(made), dice))
    const storages = TENSORS.map(
      ({ values }, key): Member => ({ name: `m/data/${key}`, data: new Uint8Array(values.buffer) }),
    )
    const order: Member[] = dice.chance(0.1)
      ? [{ name: 'm/byteorder', data: Buffer.from(dice.pick(['little', 'big'])) }]
      : []
    const members = [{ name: 'm/data.pkl', data }, ...storages, ...order]
    if (dice.chance(0.3)) members.push(members[dice.below(members.length)])
    const changed = members.map(member => dice.or(0.03, member, () => anyMember(member, dice)))
    const zip = zipFile(changed, dice.chance(0.2))
    return { 'pytorch_model.bin': dice.or(0.3, zip, () => mutateBytes(zip, dice)) }
  },
  read: async files => readTensors(await openTorch(memorySource(files['pytorch_model.bin']))),
}

// safetensors

/** Tensors in the order of the file. */
export function safetensorsFile(tensors: readonly SmallTensor[]): Uint8Array<ArrayBuffer> {
  const layout = layoutSafetensors(tensors.map(({ name, shape }) => ({ name, shape, dtype: 'F32' })))
  const file = new Uint8Array(layout.byteLength)
  file.set(layout.header)
  for (const { name, values } of tensors) file.set(new Uint8Array(values.buffer), layout.tensors.get(name)!.offset)
  return file
}

const SAFETENSORS = Buffer.from(safetensorsFile(TENSORS))
const HEADER_END = 8 + Number(SAFETENSORS.readBigUInt64LE(0))
const HEADER = JSON.parse(SAFETENSORS.toString('utf8', 8, HEADER_END))
const WIDE = [
  ...['[],', '{},', '[[]],', '{"a":0},', '0,'].map(item => item.repeat(2 ** 18)),
  '['.repeat(3e6),
  '{"a":'.repeat(1e6),
]

const safetensors: Target = {
  cases: 4700,
  make(dice) {
    const huge = dice.chance(HUGE)
    const header = huge ? Buffer.from(`{"x":[${dice.pick(WIDE)}`) : jsonCase(HEADER, dice)
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(dice.or(huge ? 0 : 0.02, header.length, dice.size)))
    const file = concatBytes([length, header, SAFETENSORS.subarray(HEADER_END)])
    return { 'model.safetensors': dice.or(0.2, file, () => mutateBytes(file, dice)) }
  },
  read: async files => readTensors(await openSafetensors(memorySource(files['model.safetensors']))),
}

// GGUF

const SHARED: Readonly<Record<string, BuiltValue>> = {
  ...oneLayer(8),
  'llama.rope.freq_base': f32(10_000),
  'tokenizer.ggml.bos_token_id': u32(1),
  'tokenizer.ggml.eos_token_id': u32(2),
}
const SENTENCE_PIECE: Readonly<Record<string, BuiltValue>> = {
  'tokenizer.ggml.model': text('llama'),
  'tokenizer.ggml.tokens': texts(['<unk>', '<s>', '</s>', '<0x62>', '▁', 'a', 'c', 'd', 'ac', 'cd', '▁a', 'e']),
  'tokenizer.ggml.scores': f32s([0, 0, 0, 0, -9, -10, -11, -12, -1, -2, -3, -4]),
  'tokenizer.ggml.token_type': i32s([2, 3, 3, 6, 1, 1, 1, 1, 1, 1, 1, 1]),
  'tokenizer.ggml.add_space_prefix': bool(true),
}
const BYTE_LEVEL: Readonly<Record<string, BuiltValue>> = {
  'tokenizer.ggml.model': text('gpt2'),
  'tokenizer.ggml.pre': text('gpt-2'),
  'tokenizer.ggml.tokens': texts(['<s>', '</s>', 'a', 'b', '1', '2', 'Ġ', 'Ċ', 'ab', 'Ġa', '12', '<think>']),
  'tokenizer.ggml.token_type': i32s([3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4]),
  'tokenizer.ggml.merges': texts(['a b', 'Ġ a', '1 2']),
  'tokenizer.ggml.add_bos_token': bool(true),
}
/** Read where they are there. */
const OPTIONAL = [
  ...['general.alignment', 'general.license', 'general.base_model.0.repo_url', 'split.count', 'llama.expert_count'],
  ...['llama.rope.scaling.type', 'llama.rope.scaling.factor', 'llama.rope.scale_linear', 'tokenizer.chat_template'],
  ...['llama.rope.scaling.original_context_length', 'llama.logit_scale', 'tokenizer.ggml.add_eos_token'],
  ...['tokenizer.ggml.unknown_token_id', 'tokenizer.ggml.padding_token_id', 'tokenizer.ggml.add_bos_token'],
]
const WORDS = [
  '',
  'a',
  'deci',
  'llama',
  'gpt2',
  'llama-bpe',
  'qwen2',
  'linear',
  '__proto__',
  'a  b',
  ' ',
  '\u2581'.repeat(50),
]

function anyBuilt(dice: Dice, depth = 0): BuiltValue {
  const kinds: (() => BuiltValue)[] = [
    () => u32(dice.size() % 2 ** 32),
    () => ({ type: 'u64', value: BigInt(dice.size()) }),
    () => ({ type: 'f64', value: dice.pick([0, -1, 1e300, Number.NaN, Number.POSITIVE_INFINITY]) }),
    () => f32(dice.pick([0, -1, 0.5, 1e30, Number.NaN])),
    () => bool(dice.chance(0.5)),
    () => ({ type: 'string', value: dice.pick(WORDS), length: dice.or(0.1, undefined, () => BigInt(dice.size())) }),
    () => texts(dice.several(20, () => dice.pick(WORDS))),
    () => i32s(dice.several(20, () => dice.below(8))),
    () => f32s(dice.several(20, () => dice.pick([0, 1, Number.NaN]))),
    () => ({ type: 'raw', number: dice.below(14), bytes: Buffer.alloc(dice.below(20), dice.below(3)) }),
    () => ({
      type: 'array',
      of: dice.below(14),
      items: dice.several(4, () => anyBuilt(dice, depth + 1)),
      length: BigInt(dice.size()),
    }),
  ]
  return dice.pick(kinds.slice(0, depth > 5 ? 6 : kinds.length))()
}

/** The same with an item of a list changed. */
function nearBuilt(value: BuiltValue, dice: Dice): BuiltValue {
  if (value.type !== 'array' || value.items.length === 0) return anyBuilt(dice)
  const at = dice.below(value.items.length)
  const item = dice.pick([value.items[dice.below(value.items.length)], text(dice.pick(WORDS)), i32s([dice.below(8)])])
  return { ...value, items: value.items.with(at, item) }
}

const TYPES = [...GGML_TYPES]

/** As a rule of the right shape and length; of any type. */
function ggufTensor({ name, shape, values }: SmallTensor, dice: Dice): BuiltTensor {
  const built = { name: storedName(name, GRAPHS.llama)!, shape, type: 0, bytes: new Uint8Array(values.buffer) }
  const odd = () => {
    const [type, dtype] = dice.pick(TYPES)
    const changed = dice.pick([shape, [shape[0], 256], shape.map(n => dice.or(0.3, n, dice.size))]) // blocks have up to 256
    const length = Math.min(2 ** 16, Math.floor(storedBytes({ type: dtype as GgufType, shape: changed })))
    return {
      ...built,
      type: dice.or(0.1, type, () => dice.below(45)),
      shape: changed,
      bytes: Buffer.alloc(length, dice.below(256)),
    }
  }
  const named = () => ({
    ...built,
    name: dice.pick(['', '__proto__', 'rope_freqs.weight', 'blk.0.attn_q.bias', 'output.weight']),
  })
  const moved = () => ({ ...built, offset: (dice.size() * dice.pick([1, 32])) % 2 ** 16 })
  return dice.or(0.15, built, dice.pick([odd, odd, odd, named, moved]))
}

const gguf: Target = {
  cases: 2700,
  make(dice) {
    const known = Object.entries({ ...SHARED, ...dice.pick([SENTENCE_PIECE, BYTE_LEVEL]) })
    const more = dice.several(3, (): [string, BuiltValue] => [dice.pick(OPTIONAL), anyBuilt(dice)])
    const changed = [...known, ...more].map(([key, value]): [string, BuiltValue] => [
      key,
      dice.or(0.04, value, () => nearBuilt(value, dice)),
    ])
    const architecture = dice.or(0.2, 'llama', () => dice.pick(['deci', 'qwen2']))
    const metadata = changed
      .filter(() => !dice.chance(0.01))
      .map(([key, value]): [string, BuiltValue] => [key.replace('llama', architecture), value])
    if (architecture !== 'llama') metadata[0] = ['general.architecture', text(architecture)]
    const tensors = TENSORS.map(one => ggufTensor(one, dice)).filter(() => !dice.chance(0.01))
    const count = () => dice.or(0.02, undefined, () => BigInt(dice.size()))
    const alignment = dice.or(0.03, undefined, () => dice.pick([1, 64, 4096]))
    const file = buildGguf({ metadata, tensors, tensorCount: count(), pairCount: count(), alignment })
    return { 'model.gguf': dice.or(0.2, file, () => mutateBytes(file, dice)) }
  },
  async read(files) {
    const opened = await openGguf(memorySource(files['model.gguf']))
    await readTensors(opened.tensors)
    const checkpoint = await ggufCheckpoint(opened, 'model.gguf')
    await tolerate(() => describeModel(checkpoint))
    const tokenizer = withUnknown(checkpoint.tokenizer)
    await tolerate(() => loadTokenizer({ ...checkpoint, tokenizer }).encode('ab acd 12 <s>'))
    for (const key of opened.metadata.keys()) await opened.rawValue(key)
    for (const { bytes } of checkpoint.sideFiles) bytes.toString()
    await readTensors(checkpoint.tensors)
  },
}

export const weights: Readonly<Record<string, Target>> = { torch, safetensors, gguf }
