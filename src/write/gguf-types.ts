// Which element type each tensor of a GGUF file gets. Called by `gguf.ts`.
// Vectors (norms, biases) are F32, as llama.cpp's converter has it. Rows that are no whole blocks take the next type that fits.
// Quantised files have a wider type for the head, and the mixes Q4_K_M and Q5_K_M for half of v_proj and down_proj. Source: llama.cpp,
// src/llama-quant.cpp (`llama_tensor_get_type_impl`, `tensor_type_fallback`); conversion/base.py for F16 where no block fits.
import { blockElements, type GgufType, storedBytes } from '../formats/gguf-layout.ts'
import { type Architecture, attentionHalves, ffnHalves, layersOf, tensorShapes } from '../model/architecture.ts'
import { groupSize } from '../model/half-block.ts'
import { ggufArchitecture } from './gguf-architecture.ts'

/** Types of whole files: the type of most weights, and the number in `general.file_type` (llama.h, `enum llama_ftype`). */
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

/** What a repaired `down_proj` is rounded to instead of four bits, as long as the file grows by no more than this part (docs/gguf.md). */
const NEXT: Partial<Record<GgufType, GgufType>> = { Q4_0: 'Q5_0', Q4_1: 'Q5_1', Q4_K: 'Q5_K' }
const MORE_BYTES = 0.03

/**
 * The type of each tensor, by its Hugging Face name.
 * @param repaired whether a linear layer was repaired, and is rounded by what it reads
 */
export function tensorTypes(
  a: Architecture,
  fileType: GgufFileType,
  repaired: (layer: string) => boolean,
): Map<string, GgufType> {
  const { base } = FILE_TYPES[fileType]
  const special = blockElements(base) === 1 || base === 'Q8_0' ? new Map<string, GgufType>() : widerTypes(a, base)
  const shapes = tensorShapes(a)
  const types = new Map<string, GgufType>()
  for (const [name, shape] of shapes)
    types.set(name, shape.length === 1 ? 'F32' : fitting(special.get(name) ?? base, shape[1]))
  const size = (name: string, type = types.get(name)!) => storedBytes({ type, shape: shapes.get(name)! })
  let room = MORE_BYTES * [...shapes.keys()].reduce((sum, name) => sum + size(name), 0)
  const layers = layersOf(a)
  const first = ffnHalves(a).filter(({ layer }) => moreBits(layer, layers))
  for (const { output } of new Set([...first, ...ffnHalves(a)])) {
    const name = `${output.name}.weight`
    const next = NEXT[special.get(name) ?? base]
    if (!next || !repaired(output.name)) continue
    const type = fitting(next, output.in)
    const cost = size(name, type) - size(name)
    if (cost > room) break
    types.set(name, type)
    room -= cost
  }
  return types
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
