// A few logits of a pruned model, which `fasp.json` records and `verify` compares: whatever reads or computes the weights otherwise than
// the run that wrote them changes them.
import type { Context } from '../forward/context.ts'
import type { Model } from '../model/model.ts'
import { spread } from '../text/windows.ts'
import { logits } from './logits.ts'

/** What the model says after the tokens `ids` of each of these tokens. */
export interface FewLogits {
  readonly ids: readonly number[]
  readonly logits: readonly number[]
}

/** So many, or as many as the model takes. */
export const TOKENS = 8

/** @param ids of the tokens. @default some that are spread over the vocabulary */
export async function fewLogits(context: Context, model: Model, ids = someIds(model)): Promise<FewLogits> {
  const all = await logits(context, model, ids)
  const last = all.subarray(-model.architecture.vocabularySize)
  return { ids, logits: ids.map(id => Number(last[id].toPrecision(6))) }
}

const someIds = ({ architecture: { vocabularySize, maxPositions } }: Model): readonly number[] =>
  spread(vocabularySize, Math.min(TOKENS, vocabularySize, maxPositions))
