// Where each byte of an ONNX model with weights goes, so that weights are written one by one: inside the model
// (`raw_data`) within protobuf's limit, else in files of external data. Source: onnx.proto3 (field numbers),
// onnx/docs/ExternalData.md (keys, alignment), protobuf.dev encoding (length-delimited fields).
import { create, toBinary } from '@bufbuild/protobuf'
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import {
  TensorProto_DataLocation as DataLocation,
  GraphProtoSchema,
  ModelProtoSchema,
  StringStringEntryProtoSchema,
  type TensorProto,
  TensorProtoSchema,
} from 'onnx-buf'
import { concatBytes } from '../base/bytes.ts'
import { dataType, ELEMENT_BYTES, type Graph, type Initializer } from './onnx.ts'
import { elements } from './tensors.ts'

/** Weights in one file. A protobuf message ends at 2³¹ − 1 bytes, as a browser's ArrayBuffer does. */
const FILE_BYTES = 2e9
/** Offsets that can be mapped into memory (ExternalData.md). */
const ALIGNMENT = 4096

export interface Place {
  readonly file: string
  readonly offset: number
  readonly byteLength: number
}

export interface OnnxLayout {
  /** Bytes of every file, the model first, then its external data. */
  readonly files: ReadonlyMap<string, number>
  /** Where the bytes of each initializer go, row-major little-endian. */
  readonly places: ReadonlyMap<string, Place>
  /** All other bytes of the model's file. */
  readonly parts: readonly { readonly offset: number; readonly bytes: Uint8Array }[]
}

/** Plans the files of a model. Weights beyond `fileBytes` are in `<file>_data`, `<file>_data_1`, …, each within it. */
export function layoutOnnx(graph: Graph, file: string, fileBytes = FILE_BYTES): OnnxLayout {
  const sized = [...graph.initializers].map(init => ({
    init,
    byteLength: elements(init.shape) * ELEMENT_BYTES[init.type],
  }))
  const total = sized.reduce((n, { byteLength }) => n + byteLength, 0)
  return total > fileBytes ? externalLayout(graph, sized, file, fileBytes) : inlineLayout(graph, sized, file)
}

interface Sized {
  readonly init: Initializer
  readonly byteLength: number
}

function inlineLayout(graph: Graph, sized: readonly Sized[], file: string): OnnxLayout {
  const model = graph.proto()
  const nodes = toBinary(GraphProtoSchema, model.graph!)
  // Fields of a message come in any order: initializers follow the graph's other fields, and their bytes come last.
  const heads = sized.map(({ init, byteLength }) => {
    const fields = toBinary(TensorProtoSchema, tensor(init))
    const data = lengthPrefix(TensorProtoSchema.field.rawData.number, byteLength)
    const length = fields.byteLength + data.byteLength + byteLength
    return concatBytes([lengthPrefix(GraphProtoSchema.field.initializer.number, length), fields, data])
  })
  const graphBytes = sized.reduce((n, s, i) => n + heads[i].byteLength + s.byteLength, nodes.byteLength)
  const start = concatBytes([
    toBinary(ModelProtoSchema, create(ModelProtoSchema, { ...model, graph: undefined })),
    lengthPrefix(ModelProtoSchema.field.graph.number, graphBytes),
    nodes,
  ])
  const parts = [{ offset: 0, bytes: start }]
  const places = new Map<string, Place>()
  let offset = start.byteLength
  for (const [i, { init, byteLength }] of sized.entries()) {
    parts.push({ offset, bytes: heads[i] })
    offset += heads[i].byteLength
    places.set(init.name, { file, offset, byteLength })
    offset += byteLength
  }
  return { files: new Map([[file, offset]]), places, parts }
}

function externalLayout(graph: Graph, sized: readonly Sized[], file: string, limit: number): OnnxLayout {
  const folder = file.lastIndexOf('/') + 1
  const ends: number[] = []
  const places = new Map<string, Place>()
  for (const { init, byteLength } of sized) {
    let offset = Math.ceil((ends.at(-1) ?? 0) / ALIGNMENT) * ALIGNMENT
    if (ends.length === 0 || (offset > 0 && offset + byteLength > limit)) {
      ends.push(0)
      offset = 0
    }
    const chunk = ends.length - 1
    ends[chunk] = offset + byteLength
    places.set(init.name, { file: `${file}_data${chunk === 0 ? '' : `_${chunk}`}`, offset, byteLength })
  }
  const model = graph.proto()
  model.graph!.initializer = sized.map(({ init }) => {
    const { file: data, offset, byteLength } = places.get(init.name)!
    const entries = { location: data.slice(folder), offset, length: byteLength }
    const proto = tensor(init)
    proto.dataLocation = DataLocation.EXTERNAL
    proto.externalData = Object.entries(entries).map(([key, value]) =>
      create(StringStringEntryProtoSchema, { key, value: String(value) }),
    )
    return proto
  })
  const bytes = toBinary(ModelProtoSchema, model)
  const files = new Map([[file, bytes.byteLength]])
  for (const { file: data } of places.values()) files.set(data, 0)
  for (const { file: data, offset, byteLength } of places.values()) files.set(data, offset + byteLength)
  return { files, places, parts: [{ offset: 0, bytes }] }
}

const tensor = ({ name, type, shape }: Initializer): TensorProto =>
  create(TensorProtoSchema, { name, dims: shape.map(BigInt), dataType: dataType(type) })

/** What stands before a field of `length` bytes. */
const lengthPrefix = (field: number, length: number): Uint8Array =>
  new BinaryWriter().tag(field, WireType.LengthDelimited).uint32(length).finish()
