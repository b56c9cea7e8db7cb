// What reports read of a run of pruning and of healing, which result.ts states: those fields of a file are checked.
import type { Allocation, HalfSensitivity } from '../method/allocate/sensitivity.ts'
import type { Widths } from '../model/half-block.ts'
import type { HalfResult, HealRecord, PruneResult, TextLoss } from '../result/result.ts'
import { list, Misshapen, number, numbers, object, oneOf, optional, partOf, record, text } from '../result/shape.ts'

const CHANGE = numbers('before', 'after')
const WIDTHS = partOf<Widths>({ ffn: number, value: number, kvHeads: optional(number), experts: optional(number) })
const HALF = partOf<HalfResult>({
  ...{ kept: optional(list(number)), errorBefore: number, errorAfter: number },
  ...{ heldOutError: optional(number), damp: number },
})
const LOSS = numbers('windows', 'dense', 'pruned')
const TEXT_LOSS = partOf<TextLoss>({ calibratedOn: LOSS, heldOut: LOSS })
const COST = numbers('width', 'cost')
const SENSITIVITY = partOf<HalfSensitivity>({
  ...{ layer: number, kind: oneOf(['attention', 'ffn']), probe: COST, curve: list(COST), width: number },
})

type HealFacts = Pick<HealRecord, 'tokens' | 'step' | 'steps' | 'dense' | 'kl' | 'curve' | 'products'>

export const HEALED = partOf<HealFacts>({
  ...{ tokens: number, step: number, steps: number, dense: text, kl: CHANGE, products: optional(text) },
  curve: list(numbers('step', 'kl')),
})

const CUT = { tokens: CHANGE, parameters: number }
const FIELDS = partOf<PruneResult>({
  fasp: text,
  source: object({ name: text, format: text, modelType: text }),
  vocabulary: optional(object({ ...CUT, texts: list(object({ name: text, tokensPerWord: CHANGE })) })),
  options: object({}),
  widths: object({ before: WIDTHS, after: list(WIDTHS) }),
  sizes: object({
    ...{ decoderLinears: CHANGE, parameters: numbers('before', 'stored', 'effective'), weightBytes: CHANGE },
  }),
  allocation: optional(partOf<Allocation>({ probeTokens: number, halfBlocks: list(SENSITIVITY) })),
  healed: optional(HEALED),
  removedLayers: optional(list(numbers('layer', 'cost'))),
  calibration: object({
    ...{ source: text, seqLen: number },
    texts: list(object({ name: text, used: number, loss: optional(TEXT_LOSS) })),
  }),
  layers: list(object({ attention: optional(HALF), ffn: optional(HALF) })),
  notices: list(text),
  ...{ seconds: record(number), engineSeconds: record(number), outsideSeconds: optional(record(number)) },
})

/** Widths and layers are of as many layers. */
export function pruneResult(value: unknown, at: string): PruneResult {
  const result = FIELDS(value, at)
  const [widths, layers] = [result.widths.after.length, result.layers.length]
  if (widths === layers) return result
  const counts = `${at}.widths.after has ${widths} layers and ${at}.layers has ${layers}`
  throw new Misshapen(`${counts}; it must be the same number`)
}
