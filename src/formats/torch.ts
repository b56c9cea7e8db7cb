// PyTorch checkpoints (`torch.save` since 1.6): a zip with `*/data.pkl`, a pickled dict of tensors, and `*/data/<key>`,
// their storages. Nothing in the file is executed: see pickle.ts. Source: torch/serialization.py, torch/_utils.py
// (_rebuild_tensor_v2).
import { type ByteSource, readBytes } from '../base/bytes.ts'
import { FormatError } from '../base/errors.ts'
import { quote, shorten } from '../base/json.ts'
import { DTYPE_BYTES, toFloat32 } from './dtype.ts'
import { Global, Made, type PickleDict, type PickleHandlers, type PickleValue, Tuple, unpickle } from './pickle.ts'
import { gatherRows } from './rows.ts'
import { type DType, elements, MAX_RANK, type TensorInfo, type TensorSource } from './tensors.ts'
import { openZip, type ZipArchive, type ZipMember } from './zip.ts'

/** A tensor takes some 110 bytes of pickle, and more where its name is long: this is for 20,000 tensors at least. */
const MAX_PICKLE_BYTES = 4 * 2 ** 20
/** `byteorder` holds 'little' or 'big'. */
const MAX_BYTEORDER_BYTES = 16

const STORAGES: Readonly<Record<string, DType>> = {
  'torch.DoubleStorage': 'F64',
  'torch.FloatStorage': 'F32',
  'torch.HalfStorage': 'F16',
  'torch.BFloat16Storage': 'BF16',
  'torch.LongStorage': 'I64',
  'torch.IntStorage': 'I32',
  'torch.ByteStorage': 'U8',
  'torch.BoolStorage': 'BOOL',
}
const ORDERED_DICT = 'collections.OrderedDict'
const REBUILD_TENSOR = 'torch._utils._rebuild_tensor_v2'
const REBUILD_PARAMETER = 'torch._utils._rebuild_parameter'
const GLOBALS = new Set([ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, ...Object.keys(STORAGES)])

/** Elements of one type in a member of the archive. Several tensors may share one. */
class Storage extends Made {
  constructor(
    readonly dtype: DType,
    readonly member: ZipMember,
    readonly length: number,
  ) {
    super()
  }
}

/** A strided view of a storage; offset and strides in elements. */
class View extends Made {
  constructor(
    readonly storage: Storage,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
  ) {
    super()
  }
}

/**
 * Reads the pickled dict of tensors, which may be under one key ('state_dict', 'model'). Closing it closes `source`.
 * @throws FormatError for an archive or pickle that is malformed, contradicts itself, or has more than tensors.
 */
export async function openTorch(source: ByteSource): Promise<TensorSource> {
  await refuseOtherKinds(source)
  const zip = await openZip(source)
  const pickle = onlyPickle(zip, source.name)
  const folder = pickle.name.slice(0, -'data.pkl'.length)
  await refuseBigEndian(zip, folder, source.name)
  const file = `${source.name}:${pickle.name}`
  const handlers = new Rebuild(zip, folder, file)
  const views = stateDict(unpickle(await zip.read(pickle, MAX_PICKLE_BYTES), file, handlers), file)
  const infos = [...views].map(([name, { storage, shape }]): [string, TensorInfo] => [
    name,
    { name, dtype: storage.dtype, shape },
  ])
  const find = (name: string): View => {
    const found = views.get(name)
    if (found === undefined) throw new FormatError(source.name, `has no tensor ${quote(name)}`)
    return found
  }
  const bytes = async (name: string) => readView(find(name), zip)
  return {
    tensors: new Map(infos),
    bytes,
    float32: async name => toFloat32(await bytes(name), find(name).storage.dtype),
    async rows(name, ids) {
      const { storage, offset, shape, strides } = find(name)
      const [, ...one] = shape
      const row = elements(one) * DTYPE_BYTES[storage.dtype]
      // Rows of a transposed view lie all over it.
      const whole = isContiguous(one, strides.slice(1)) ? undefined : await bytes(name)
      const read = async (from: number, to: number) =>
        whole?.subarray(from * row, to * row) ??
        readView(new View(storage, offset + from * strides[0], [to - from, ...one], strides), zip)
      return toFloat32(await gatherRows(ids, row, read), storage.dtype)
    },
    close: async () => source.close?.(),
  }
}

const CONVERT = 'Load it with torch.load(…, weights_only=True) and save it again with torch.save or as safetensors'

async function refuseOtherKinds(source: ByteSource): Promise<void> {
  const [first, second] = await readBytes(source, 0, Math.min(2, source.byteLength))
  if (first === 0x50 && second === 0x4b) return // PK
  if (first === 0x80) {
    // Before torch 1.6: pickles one after another, the first of which is the number 0x1950a86a20f9469cfc6c.
    throw new FormatError(source.name, `is in the legacy format of torch before 1.6, or a bare pickle. ${CONVERT}`)
  }
  throw new FormatError(source.name, `is no zip archive, as torch.save writes. Download it again, or: ${CONVERT}`)
}

function onlyPickle(zip: ZipArchive, file: string): ZipMember {
  const found = [...zip.members.values()].filter(member => member.name.endsWith('/data.pkl'))
  if (found.length === 1) return found[0]
  throw new FormatError(file, `has ${found.length} members */data.pkl, a torch checkpoint has one. ${CONVERT}`)
}

async function refuseBigEndian(zip: ZipArchive, folder: string, file: string): Promise<void> {
  const member = zip.members.get(`${folder}byteorder`)
  if (member === undefined) return // little before torch 2.1
  const order = new TextDecoder().decode(await zip.read(member, MAX_BYTEORDER_BYTES)).trim()
  if (order !== 'little') throw new FormatError(file, `has byte order ${quote(order)}; allowed is little. ${CONVERT}`)
}

/** What the allowed globals mean. */
class Rebuild implements PickleHandlers {
  readonly globals = GLOBALS
  constructor(
    private readonly zip: ZipArchive,
    private readonly folder: string,
    private readonly file: string,
  ) {}

  reduce(name: string, args: readonly PickleValue[]): PickleValue {
    if (name === ORDERED_DICT && args.length === 0) return new Map()
    if (name === REBUILD_PARAMETER && args[0] instanceof View) return args[0]
    if (name === REBUILD_TENSOR) return this.tensor(args)
    throw new FormatError(this.file, `calls ${name} with arguments that make no tensor`)
  }

  persistent(id: PickleValue): Storage {
    const [kind, type, key, , length] = id instanceof Tuple ? id.items : []
    const dtype = type instanceof Global ? STORAGES[type.name] : undefined
    const known =
      kind === 'storage' && dtype !== undefined && typeof key === 'string' && /^\d+$/.test(key) && isSize(length)
    if (!known)
      throw new FormatError(this.file, 'has a persistent id other than (storage, type, number, device, length)')
    const member = this.zip.members.get(`${this.folder}data/${key}`)
    if (member === undefined)
      throw new FormatError(this.file, `has no storage ${key}; the file is incomplete, download it again`)
    if (member.size !== length * DTYPE_BYTES[dtype]) {
      throw new FormatError(this.file, `storage ${key} has ${member.size} bytes, but ${length} elements of ${dtype}`)
    }
    return new Storage(dtype, member, length)
  }

  private tensor([storage, offset, size, stride]: readonly PickleValue[]): View {
    const shape = sizes(size)
    const strides = sizes(stride)
    const fits = storage instanceof Storage && isSize(offset) && shape && strides && shape.length === strides.length
    if (!fits || shape.length > MAX_RANK) {
      throw new FormatError(
        this.file,
        `has a tensor without storage, offset, and size and stride of at most ${MAX_RANK} dimensions`,
      )
    }
    // The last element is at offset + Σ (size − 1) · stride. Beyond 2^53 that is inexact, but far beyond any storage.
    const last = shape.reduce((sum, n, i) => sum + (n - 1) * strides[i], offset)
    const count = elements(shape)
    const inside = count === 0 ? offset <= storage.length : last < storage.length
    // A view with stride 0 has more elements than its storage: a small file could claim terabytes.
    if (!inside || !Number.isSafeInteger(count) || count > storage.length) {
      const view = `offset ${offset}, shape [${shape}], strides [${strides}]`
      throw new FormatError(
        this.file,
        `has a tensor outside its storage of ${storage.length} elements or larger than it: ${view}`,
      )
    }
    return new View(storage, offset, shape, strides)
  }
}

const isSize = (value: PickleValue | undefined): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0

const sizes = (value: PickleValue): number[] | undefined =>
  value instanceof Tuple && value.items.every(isSize) ? (value.items as number[]) : undefined

/** The dict of tensors: the top-level dict, or the only one that the top-level dict holds. */
function stateDict(top: PickleValue, file: string): Map<string, View> {
  if (!(top instanceof Map)) throw new FormatError(file, `holds no dict of tensors. ${CONVERT} of its state_dict()`)
  if (hasTensors(top) || top.size === 0) return tensorsOf(top, file)
  const values = new Set(top.values()) // however many keys have a dict, it is looked through once
  const dicts = new Set([...values].filter(value => value instanceof Map).filter(hasTensors))
  const [only] = dicts
  if (dicts.size === 1) return tensorsOf(only, file)
  const keys = shorten(
    [...top].flatMap(([key, value]) => (dicts.has(value as PickleDict) ? [quote(String(key))] : [])).join(', '),
  )
  throw new FormatError(
    file,
    `holds ${dicts.size} dicts of tensors (${keys}), allowed is one. ${CONVERT}, only the model's`,
  )
}

const hasTensors = (dict: PickleDict): boolean => [...dict.values()].some(value => value instanceof View)

function tensorsOf(dict: PickleDict, file: string): Map<string, View> {
  const views = new Map<string, View>()
  for (const [key, value] of dict) {
    if (typeof key !== 'string') throw new FormatError(file, `has the tensor name ${key}, which is no text`)
    if (value instanceof View) views.set(key, value)
    else if (typeof value === 'object' && value !== null) {
      throw new FormatError(file, `has ${quote(key)} among its tensors, which is none. ${CONVERT}, tensors only`)
    }
  }
  return views
}

async function readView(view: View, zip: ZipArchive): Promise<Uint8Array<ArrayBuffer>> {
  const { storage, offset, shape, strides } = view
  const size = DTYPE_BYTES[storage.dtype]
  const count = elements(shape)
  if (count === 0) return new Uint8Array(0)
  const span = 1 + shape.reduce((sum, n, i) => sum + (n - 1) * strides[i], 0) // elements from the first to the last
  const bytes = await zip.slice(storage.member, offset * size, (offset + span) * size)
  return isContiguous(shape, strides) ? bytes : gather(bytes, size, shape, strides)
}

/** Row-major without holes; the stride of a dimension of one element does not matter. */
function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && strides[i] !== expected) return false
    expected *= shape[i]
  }
  return true
}

/** Elements of a strided view in row-major order. `bytes` begins with the first element. */
function gather(
  bytes: Uint8Array<ArrayBuffer>,
  size: number,
  shape: readonly number[],
  strides: readonly number[],
): Uint8Array<ArrayBuffer> {
  const Words = size === 8 ? Float64Array : size === 4 ? Uint32Array : size === 2 ? Uint16Array : Uint8Array
  const from = new Words(bytes.buffer)
  const to = new Words(elements(shape))
  const inner = shape.at(-1)!
  const step = strides.at(-1)!
  const index = shape.slice(0, -1).fill(0) // of the row
  let row = 0
  for (let at = 0; at < to.length; at += inner) {
    for (let i = 0; i < inner; i++) to[at + i] = from[row + i * step]
    for (let axis = index.length - 1; axis >= 0; axis--) {
      row += strides[axis]
      if (++index[axis] < shape[axis]) break
      row -= index[axis] * strides[axis]
      index[axis] = 0
    }
  }
  return new Uint8Array(to.buffer)
}
