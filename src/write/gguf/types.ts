// Which element type each tensor of a GGUF file gets. Vectors (norms, biases) are F32, as in llama.cpp's converter.
// Rows that are no whole blocks take the next type that fits. Quantised files have a wider type for the head, and the
// mixes Q4_K_M and Q5_K_M a wider one for half of v_proj and down_proj. Source: llama.cpp, src/llama-quant.cpp
// (`llama_tensor_get_type_impl`, `tensor_type_fallback`); conversion/base.py for F16 where no block fits.
import { isWritten, READ_ONLY } from '../../formats/gguf-dequantize.ts'
import { blockElements, type GgufType, storedBytes } from '../../formats/gguf-layout.ts'
import type { TensorInfo } from '../../formats/tensors.ts'
import {
  type Architecture,
  attentionHalves,
  expertsOf,
  ffnHalves,
  layersOf,
  tensorShapes,
} from '../../model/architecture.ts'
import { EXPERT, groupSize, type HalfBlock, ofExpert, plainHalves } from '../../model/half-block.ts'
import { ggufArchitecture } from './architecture.ts'

/** Types of whole files: the type of most weights, and `general.file_type` (llama.h, `enum llama_ftype`). */
export const FILE_TYPES = {
  F32: { base: 'F32', number: 0 },
  F16: { base: 'F16', number: 1 },
  BF16: { base: 'BF16', number: 32 },
  Q8_0: { base: 'Q8_0', number: 7 },
  Q6_K: { base: 'Q6_K', number: 18 },
  Q5_K_M: { base: 'Q5_K', number: 17 },
  Q5_1: { base: 'Q5_1', number: 9 },
  Q5_0: { base: 'Q5_0', number: 8 },
  Q4_K_M: { base: 'Q4_K', number: 15 },
  Q4_1: { base: 'Q4_1', number: 3 },
  Q4_0: { base: 'Q4_0', number: 2 },
} as const satisfies Record<string, { base: GgufType; number: number }>

export type GgufFileType = keyof typeof FILE_TYPES

/** Elements in a row that every quantised type can hold. */
export const BLOCK = 32

/** For rows that are no multiple of 256. */
const FALLBACK: Partial<Record<GgufType, GgufType>> = { Q4_K: 'Q5_0', Q5_K: 'Q5_1', Q6_K: 'Q8_0' }

/** File types that we only read, by number, and the nearest type: Q4_K_S, Q5_K_S, 2 and 3 bits, IQ4_NL, IQ4_XS. */
const OTHER_TYPES: Readonly<Record<number, GgufFileType>> = {
  ...{ 14: 'Q4_K_M', 16: 'Q5_K_M', 10: 'Q4_K_M', 11: 'Q4_K_M', 12: 'Q4_K_M', 13: 'Q4_K_M', 21: 'Q4_K_M' },
  ...{ 25: 'Q4_0', 30: 'Q4_K_M' },
}

/**
 * The type that a GGUF file says it has, or the nearest. Not the type of most weights, since a large embedding is
 * wider. Undefined where the file says none, or no tensor has that type. @param types of its tensors
 */
export function declaredType(number: unknown, types: ReadonlySet<string>): GgufFileType | undefined {
  const known = (Object.keys(FILE_TYPES) as GgufFileType[]).find(type => FILE_TYPES[type].number === number)
  const type = known ?? OTHER_TYPES[Number(number)]
  const base: GgufType | undefined = type && FILE_TYPES[type].base
  return base && [base, FALLBACK[base] ?? '', ...READ_ONLY].some(one => types.has(one)) ? type : undefined
}

/** Types that layers rounded by their inputs get instead of 4 bits, while the file grows by no more (docs/gguf.md). */
const NEXT: Partial<Record<GgufType, GgufType>> = { Q4_0: 'Q5_0', Q4_1: 'Q5_1', Q4_K: 'Q5_K' }
const MORE_BYTES = 0.03

/**
 * The type of each tensor, by its Hugging Face name.
 * @param source `observed`: whether a linear layer is rounded by a Gram matrix or was repaired as an expert; `held`:
 * the type that a tensor has in a GGUF source
 */
export function tensorTypes(
  a: Architecture,
  fileType: GgufFileType,
  {
    observed,
    held,
  }: { observed: (layer: string) => boolean; held: (tensor: string) => TensorInfo['dtype'] | undefined },
): Map<string, GgufType> {
  const { base } = FILE_TYPES[fileType]
  const special = blockElements(base) === 1 || base === 'Q8_0' ? new Map<string, GgufType>() : widerTypes(a, base)
  const shapes = tensorShapes(a)
  const types = new Map<string, GgufType>()
  const first = (name: string) => ofExpert(name, 0) // all experts are one tensor
  const routers = new Set(ffnHalves(a).map(({ experts }) => `${experts?.router.name}.weight`))
  for (const [name, shape] of shapes)
    types.set(
      name,
      shape.length === 1 || routers.has(name) ? 'F32' : fitting(special.get(first(name)) ?? base, shape[1]),
    )
  const size = (name: string, type = types.get(name)!) => storedBytes({ type, shape: shapes.get(name)! })
  let room = MORE_BYTES * [...shapes.keys()].reduce((sum, name) => sum + size(name), 0)
  // A mix leaves what it has no reason to round again: what is as it was, where that takes no more bytes.
  const again = base === 'Q4_K' || base === 'Q5_K' ? changedWeights(a, observed) : shapes
  for (const name of shapes.keys()) {
    const type = held(name)
    if (!again.has(name) && type && isWritten(type) && size(name, type) <= size(name)) types.set(name, type)
  }
  for (const { reader, linear } of mostLost(a)) {
    const name = `${linear.name}.weight`
    const next = NEXT[special.get(name) ?? base]
    if (!next || !observed(reader.name)) continue
    const type = fitting(next, linear.in)
    const all = EXPERT.test(name) ? Array.from({ length: expertsOf(a) }, (_, e) => ofExpert(name, e)) : [name]
    const cost = all.length * (size(name, type) - size(name))
    if (cost > room) continue
    for (const one of all) types.set(one, type)
    room -= cost
  }
  return types
}

/** Weights that pruning did more to than leaving rows out. Value channels that were cut may have been turned before. */
function changedWeights(a: Architecture, observed: (layer: string) => boolean): Set<string> {
  const changed = a.halves.flatMap(plainHalves).flatMap(({ kind, inputs, output }) => {
    const cut = observed(output.name)
    return [...(observed(inputs[0].name) || (cut && kind === 'attention') ? inputs : []), ...(cut ? [output] : [])]
  })
  return new Set(changed.map(({ name }) => `${name}.weight`))
}

/** Linear layers by what a bit more brings per byte: outputs of FFNs lose most, and values are few. */
function mostLost(a: Architecture) {
  const layers = layersOf(a)
  const favoured = <Half extends HalfBlock>(halves: readonly Half[]) => [
    ...new Set([...halves.filter(({ layer }) => moreBits(layer, layers)), ...halves]),
  ]
  const ffns = favoured(ffnHalves(a))
  return [
    ...ffns.map(({ output }) => ({ reader: output, linear: output })),
    ...favoured(attentionHalves(a)).map(({ inputs }) => ({ reader: inputs[0], linear: inputs[2] })),
    ...ffns.flatMap(({ inputs }) => inputs.map(linear => ({ reader: inputs[0], linear }))),
  ]
}

function fitting(type: GgufType, row: number): GgufType {
  const fits = (type: GgufType) => row % blockElements(type) === 0
  const next = fits(type) ? type : (FALLBACK[type] ?? type)
  return fits(next) ? next : 'F16'
}

/** Weights of a quantised file that take another type than most. */
function widerTypes(a: Architecture, base: GgufType): Map<string, GgufType> {
  const types = new Map<string, GgufType>()
  types.set(
    `${a.tied ? a.names.embedding : a.names.head}.weight`,
    a.embeddingSize % blockElements(base) === 0 ? 'Q6_K' : 'Q8_0',
  )
  if (base !== 'Q4_K' && base !== 'Q5_K') return types
  // 80 layers are a model of 70B; architecture `llama` asks for grouped queries besides.
  const layers = layersOf(a)
  const is70B = layers === 80 && (ggufArchitecture(a) !== 'llama' || groupSize(attentionHalves(a)[0]) > 1)
  for (const half of a.halves) {
    const more = moreBits(half.layer, layers)
    if (half.kind === 'ffn') types.set(`${half.output.name}.weight`, more ? 'Q6_K' : base)
    else types.set(`${half.inputs[2].name}.weight`, more ? 'Q6_K' : is70B ? 'Q5_K' : base)
  }
  return types
}

/** The first and last eighths of the layers, and every third between. */
function moreBits(layer: number, layers: number): boolean {
  const eighth = Math.floor(layers / 8)
  return layer < eighth || layer >= Math.floor((7 * layers) / 8) || (layer - eighth) % 3 === 2
}
