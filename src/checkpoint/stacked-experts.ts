// Experts that lie in one tensor [experts, out, in], as transformers 5 holds them, seen as single tensors.
// `save_pretrained(…, save_original_format=False)` writes them, gate before up, under one name in all families.
// Source: transformers, conversion_mapping.py.
import type { TensorInfo } from '../formats/tensors.ts'
import { MAX_EXPERTS } from './checkpoint.ts'
import type { MIXTRAL_LAYER, MIXTURE_LAYER } from './gguf-names.ts'

/** A tensor, or what it holds of one expert: of gate and up the first or second half. */
export interface Part {
  readonly info: TensorInfo
  readonly expert?: number
  readonly half?: 0 | 1
}

const OF_EXPERTS = /^(model\.layers\.\d+\.)mlp\.(experts\.gate_up_proj|experts\.down_proj|gate\.weight)$/

/** @param names of the modules in single experts */
export function partsOf(info: TensorInfo, names: typeof MIXTRAL_LAYER | typeof MIXTURE_LAYER): Part[] {
  const [, layer, module] = OF_EXPERTS.exec(info.name) ?? []
  if (module === 'gate.weight') return [{ info: { ...info, name: `${layer}${names.ffn_gate_inp}.weight` } }]
  const [experts, out, columns] = info.shape
  if (!module || info.shape.length !== 3 || experts > MAX_EXPERTS) return [{ info }]
  const each = (of: string, rows: number, half?: 0 | 1) =>
    Array.from({ length: experts }, (_, expert): Part => {
      const name = `${layer}${of.replace('.0.', `.${expert}.`)}.weight`
      return { info: { ...info, name, shape: [rows, columns] }, expert, half }
    })
  return module === 'experts.down_proj'
    ? each(names.ffn_down_exps, out)
    : [...each(names.ffn_gate_exps, out / 2, 0), ...each(names.ffn_up_exps, out / 2, 1)]
}
