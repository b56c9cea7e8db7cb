// Builds ONNX models node by node over the protobuf schemas of `onnx-buf`. `onnx-file.ts` writes weights; graphs of our
// own engine take weights as inputs. Source: onnx.proto3 (ONNX 1.20), operator sets `ai.onnx` and `com.microsoft`.
import { create, toBinary } from '@bufbuild/protobuf'
import {
  type AttributeProto,
  AttributeProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  TensorProto_DataType as DataType,
  GraphProtoSchema,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  type TensorProto,
  TensorProtoSchema,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from 'onnx-buf'

/** Opset of `ai.onnx` that every graph asks for: the first with `RMSNormalization`. */
const OPSET = 23n
const IR_VERSION = 10n

export type ElementType = 'float32' | 'float64' | 'float16' | 'int32' | 'int64' | 'uint8' | 'bool'
/** What holds values in memory. Uint16Array holds float16. */
export type Data = Float32Array | Float64Array | Uint16Array | Int32Array | BigInt64Array

/** What the values are for ONNX. */
export function elementType(data: Data): Exclude<ElementType, 'uint8' | 'bool'> {
  if (data instanceof Float32Array) return 'float32'
  if (data instanceof Float64Array) return 'float64'
  if (data instanceof Uint16Array) return 'float16'
  if (data instanceof Int32Array) return 'int32'
  return 'int64'
}

/** Types that constants are given in. */
type ConstantType = Exclude<ElementType, 'float16' | 'uint8' | 'bool'>
/** The name of a value in a graph. `''` stands for an optional input that is left out. */
export type Value = string
/** A number is fixed, a string is a symbolic dimension. */
export type Dimension = number | string
type Attribute = number | string | readonly number[] | { readonly float: number }

/** As ONNX numbers them, and ONNX Runtime's C interface. */
export const DATA_TYPES: Readonly<Record<ElementType, DataType>> = {
  float32: DataType.FLOAT,
  float64: DataType.DOUBLE,
  float16: DataType.FLOAT16,
  int32: DataType.INT32,
  int64: DataType.INT64,
  uint8: DataType.UINT8,
  bool: DataType.BOOL,
}

/** Bytes of an element. */
export const ELEMENT_BYTES: Readonly<Record<ElementType, number>> = {
  float32: 4,
  float64: 8,
  float16: 2,
  int32: 4,
  int64: 8,
  uint8: 1,
  bool: 1,
}

/** A node of a graph as data. Operators of `com.microsoft` are written `com.microsoft.Name`. */
export interface GraphNode {
  readonly type: string
  readonly inputs: readonly Value[]
  readonly outputs: readonly Value[]
  /** Numbers, lists of them, and texts. */
  readonly attributes: Readonly<Record<string, number | string | readonly number[]>>
  /** What a constant of integers or floats holds. */
  readonly constant?: { readonly shape: readonly number[]; readonly values: readonly number[] }
}

/** A weight that a model's file holds. */
export interface Initializer {
  readonly name: string
  readonly type: ElementType
  readonly shape: readonly number[]
}

/** A graph under construction. Every method returns the name of the value it makes. */
export class Graph {
  readonly #nodes: NodeProto[] = []
  readonly #inputs: ValueInfoProto[] = []
  readonly #outputs: ValueInfoProto[] = []
  readonly #constants = new Map<string, Value>()
  readonly #initializers = new Map<string, Initializer>()
  #names = 0
  #isDouble = false

  constructor(readonly name: string) {}

  /** Whether it takes float64. */
  get isDouble(): boolean {
    return this.#isDouble
  }

  input(name: string, type: ElementType, shape: readonly Dimension[]): Value {
    this.#isDouble ||= type === 'float64'
    this.#inputs.push(valueInfo(name, type, shape))
    return name
  }

  /** Makes `value` an output, renaming it to `name` in the nodes that make and use it. */
  output(name: string, value: Value, type: ElementType, shape: readonly Dimension[]): void {
    for (const node of this.#nodes) {
      node.input = node.input.map(v => (v === value ? name : v))
      node.output = node.output.map(v => (v === value ? name : v))
    }
    this.#outputs.push(valueInfo(name, type, shape))
  }

  /** Makes these the only outputs; unused nodes go. @param outputs shapes of float32, by value and name */
  outputOnly(outputs: readonly (readonly [name: string, value: Value, shape: readonly Dimension[]])[]): void {
    this.#outputs.length = 0
    for (const [name, value, shape] of outputs) this.output(name, value, 'float32', shape)
    const needed = new Set(outputs.map(([name]) => name))
    const kept = this.#nodes.toReversed().filter(({ input, output }) => {
      const is = output.some(value => needed.has(value))
      if (is) for (const value of input) needed.add(value)
      return is
    })
    this.#nodes.splice(0, Infinity, ...kept.reverse())
  }

  /** A node with one output. Operators of `com.microsoft` are written `com.microsoft.Name`. */
  op(type: string, inputs: readonly Value[], attributes: Record<string, Attribute> = {}): Value {
    return this.ops(type, inputs, 1, attributes)[0]
  }

  /** A node with several outputs. */
  ops(type: string, inputs: readonly Value[], outputs: number, attributes: Record<string, Attribute> = {}): Value[] {
    const dot = type.lastIndexOf('.')
    const output = Array.from({ length: outputs }, () => `v${this.#names++}`)
    this.#nodes.push(
      create(NodeProtoSchema, {
        name: output[0], // unique; the outputs may be renamed later
        opType: type.slice(dot + 1),
        domain: dot < 0 ? '' : type.slice(0, dot),
        input: [...inputs],
        output,
        attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
      }),
    )
    return output
  }

  /** Puts in the place of each node of an operator with one output what `make` adds for its inputs. */
  replace(type: string, make: (inputs: readonly Value[]) => Value): void {
    for (const node of this.#nodes.filter(({ opType }) => opType === type)) {
      const [, ...after] = this.#nodes.splice(this.#nodes.indexOf(node))
      const value = make(node.input)
      for (const made of this.#nodes) made.output = made.output.map(v => (v === value ? node.output[0] : v))
      this.#nodes.push(...after)
    }
  }

  /** The values of `value` in another type. */
  cast(value: Value, type: ElementType): Value {
    return this.op('Cast', [value], { to: DATA_TYPES[type] })
  }

  /** A weight. Its bytes go into the file that `layoutOnnx` plans. */
  initializer(name: string, type: ElementType, shape: readonly number[]): Value {
    this.#initializers.set(name, { name, type, shape })
    return name
  }

  /** In the order in which they were added: what a node takes comes before it. */
  get nodes(): readonly GraphNode[] {
    return this.#nodes.map(({ domain, opType, input, output, attribute }) => {
      const tensor = attribute.find(({ t }) => t)?.t
      return {
        type: domain ? `${domain}.${opType}` : opType,
        inputs: input,
        outputs: output,
        attributes: Object.fromEntries(attribute.map(a => [a.name, attributeValue(a)])),
        ...(tensor && { constant: { shape: tensor.dims.map(Number), values: tensorValues(tensor) } }),
      }
    })
  }

  /** Sizes of the inputs, by name. */
  get inputShapes(): ReadonlyMap<Value, readonly Dimension[]> {
    return new Map(this.#inputs.map(input => [input.name, dimensions(input)]))
  }

  get initializers(): Iterable<Initializer> {
    return this.#initializers.values()
  }

  /** A constant scalar (`shape` empty) or vector. Equal constants share one node. */
  constant(type: ConstantType, values: number | readonly number[]): Value {
    const key = `${type}:${JSON.stringify(values)}`
    let value = this.#constants.get(key)
    if (value === undefined) {
      const list = typeof values === 'number' ? [values] : [...values]
      const tensor = create(TensorProtoSchema, {
        dims: typeof values === 'number' ? [] : [BigInt(list.length)],
        dataType: DATA_TYPES[type],
        rawData: rawData(type, list),
      })
      value = `c${this.#names++}`
      const node = create(AttributeProtoSchema, { name: 'value', type: AttributeType.TENSOR, t: tensor })
      this.#nodes.push(create(NodeProtoSchema, { opType: 'Constant', output: [value], attribute: [node] }))
      this.#constants.set(key, value)
    }
    return value
  }

  /** Serialised ModelProto, without initializers. */
  bytes(): Uint8Array<ArrayBuffer> {
    return toBinary(ModelProtoSchema, this.proto())
  }

  /** The message, without initializers. */
  proto(): ModelProto {
    return create(ModelProtoSchema, {
      irVersion: IR_VERSION,
      producerName: 'fasp',
      opsetImport: [
        create(OperatorSetIdProtoSchema, { domain: '', version: OPSET }),
        create(OperatorSetIdProtoSchema, { domain: 'com.microsoft', version: 1n }),
      ],
      graph: create(GraphProtoSchema, {
        name: this.name,
        node: this.#nodes,
        input: this.#inputs,
        output: this.#outputs,
      }),
    })
  }
}

export const dataType = (type: ElementType): DataType => DATA_TYPES[type]

function valueInfo(name: string, type: ElementType, shape: readonly Dimension[]): ValueInfoProto {
  const dim = shape.map(d =>
    create(TensorShapeProto_DimensionSchema, {
      value: typeof d === 'number' ? { case: 'dimValue', value: BigInt(d) } : { case: 'dimParam', value: d },
    }),
  )
  const tensor = create(TypeProto_TensorSchema, {
    elemType: DATA_TYPES[type],
    shape: create(TensorShapeProtoSchema, { dim }),
  })
  return create(ValueInfoProtoSchema, {
    name,
    type: create(TypeProtoSchema, { value: { case: 'tensorType', value: tensor } }),
  })
}

/** The sizes that `valueInfo` was given. */
function dimensions({ type }: ValueInfoProto): Dimension[] {
  if (type?.value.case !== 'tensorType') return []
  const dims = type.value.value.shape?.dim ?? []
  return dims.map(({ value: d }) => (d.case === 'dimParam' ? d.value : Number(d.value)))
}

/** What `attribute` was given. */
function attributeValue({ type, i, f, s, ints }: AttributeProto): number | string | readonly number[] {
  switch (type) {
    case AttributeType.INT:
      return Number(i)
    case AttributeType.FLOAT:
      return f
    case AttributeType.INTS:
      return ints.map(Number)
    default:
      return new TextDecoder().decode(s)
  }
}

function attribute(name: string, value: Attribute): AttributeProto {
  if (typeof value === 'number')
    return create(AttributeProtoSchema, { name, type: AttributeType.INT, i: BigInt(value) })
  if (typeof value === 'string')
    return create(AttributeProtoSchema, { name, type: AttributeType.STRING, s: new TextEncoder().encode(value) })
  if ('float' in value) return create(AttributeProtoSchema, { name, type: AttributeType.FLOAT, f: value.float })
  return create(AttributeProtoSchema, { name, type: AttributeType.INTS, ints: value.map(BigInt) })
}

function rawData(type: ConstantType, values: readonly number[]): Uint8Array<ArrayBuffer> {
  switch (type) {
    case 'float32':
      return new Uint8Array(new Float32Array(values).buffer)
    case 'float64':
      return new Uint8Array(new Float64Array(values).buffer)
    case 'int32':
      return new Uint8Array(new Int32Array(values).buffer)
    case 'int64':
      return new Uint8Array(new BigInt64Array(values.map(BigInt)).buffer)
  }
}

/** The inverse of `rawData`. */
function tensorValues({ dataType, rawData }: TensorProto): number[] {
  const { buffer } = Uint8Array.from(rawData) // lies where elements of any size may
  switch (dataType) {
    case DataType.FLOAT:
      return [...new Float32Array(buffer)]
    case DataType.DOUBLE:
      return [...new Float64Array(buffer)]
    case DataType.INT32:
      return [...new Int32Array(buffer)]
    default:
      return Array.from(new BigInt64Array(buffer), Number)
  }
}
