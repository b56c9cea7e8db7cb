// The dense model over the tokens that a cut vocabulary has kept, found by their names. Its probabilities are those of
// the dense model renormalised: log p_t = z_t − log Σ_{k kept} exp z_k.
import { count } from '../base/display.ts'
import { UsageError } from '../base/errors.ts'
import { describeModel, type Model } from '../model/model.ts'
import { renumber } from './renumber.ts'

/** @returns the model itself where nothing was cut @throws UsageError where `cut` has tokens that it has not */
export function withVocabularyOf(model: Model, cut: Model): Model {
  const [before, after] = [model, cut].map(({ architecture }) => architecture.vocabularySize)
  return after < before ? describeModel(renumber(model, keptIds(model, cut))) : model
}

/** Ids in `model` of the tokens of `cut`, by their ids there. */
function keptIds(model: Model, cut: Model): Int32Array {
  const refused = (what: string) =>
    new UsageError(
      `${cut.checkpoint.name} has a vocabulary of ${count(cut.architecture.vocabularySize)}, and ${what} in that of ` +
        `${model.checkpoint.name}. Give the model that it was pruned from as --dense.`,
    )
  const before = new Map(tokensOf(model).map(([token, id]) => [token, id]))
  const after = new Map(tokensOf(cut).map(([token, id]) => [id, token]))
  const kept = Int32Array.from({ length: cut.architecture.vocabularySize }, (_, place) => {
    const id = before.get(after.get(place) ?? '')
    if (id === undefined || id >= model.architecture.vocabularySize)
      throw refused(`its token ${place}, ${JSON.stringify(after.get(place) ?? '')}, is not`)
    return id
  })
  if (kept.some((id, place) => id <= (kept[place - 1] ?? -1))) throw refused('its tokens have another order than')
  return kept
}

function tokensOf({ checkpoint: { tokenizer } }: Model): [token: string, id: number][] {
  const { model, added_tokens: added } = tokenizer as {
    model: { vocab: Record<string, number> | [string, number][] }
    added_tokens: { content: string; id: number }[]
  }
  const own = Array.isArray(model.vocab)
    ? model.vocab.map(([token], id) => [token, id] as const)
    : Object.entries(model.vocab)
  return [...own, ...added.map(({ content, id }) => [content, id] as const)].map(([token, id]) => [token, id])
}
