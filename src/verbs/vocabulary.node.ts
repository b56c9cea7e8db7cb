// A model that Node opens, with a smaller vocabulary where that is asked for.
import type { Progress } from '../base/events.ts'
import type { Model } from '../model/model.ts'
import type { NamedText } from '../text/calibration.ts'
import { cutVocabularyEvents, type VocabularyChoice } from '../vocabulary/cut-vocabulary.ts'
import { nodeVerbs, openTexts, type TextInput } from './platform.node.ts'
import type { OpenedModel } from './verbs.ts'

/** `whole`: as it was, where it was cut. */
export type WithVocabulary<M extends Model> = M & { readonly whole?: Model }

/** @param text what tokens per word are counted on besides @throws as `openModel`, `cutVocabulary` */
export async function* openWithVocabulary(
  source: string | Model,
  vocabulary: VocabularyChoice<TextInput> | undefined,
  text: readonly NamedText[] = [],
  signal?: AbortSignal,
): Progress<WithVocabulary<OpenedModel>> {
  const keep = yield* openTexts(vocabulary?.keep, 'calibration', { signal }) // before a long download
  const model = yield* nodeVerbs.openModel(source, { signal })
  if (!vocabulary) return model
  let cut: Model | undefined
  try {
    cut = yield* cutVocabularyEvents(model, { ...vocabulary, keep, text, signal })
  } finally {
    if (!cut) await model.close()
  }
  return { ...model, ...cut, whole: model }
}
