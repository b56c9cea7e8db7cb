// The open model with a smaller vocabulary, where that is asked for. The last is kept: the slider beside it moves often.
import { finish, type ProgressEvent } from '../src/base/events.ts'
import type { Model } from '../src/model/model.ts'
import type { Settings } from '../src/page/protocol.ts'
import type { cutVocabularyEvents } from '../src/vocabulary/cut-vocabulary.ts'
import { opened, textsOf } from './opened.ts'

interface Cut {
  readonly of: Model
  readonly key: string
  readonly model: Model
  readonly notices: readonly string[]
}

let last: Cut | undefined

/** @param cutter loads what cuts, with a tokenizer, where that is needed @throws as `opened`, `cutVocabulary` */
export async function withVocabulary(
  settings: Settings,
  cutter: () => Promise<typeof cutVocabularyEvents>,
): Promise<Pick<Cut, 'model' | 'notices'>> {
  const of = opened()
  const { vocabulary: size } = settings
  if (size === undefined) return { model: of, notices: [] }
  const keep = textsOf(settings) ?? []
  const key = JSON.stringify([size, keep.map(file => [file.name, file.size, file.lastModified])])
  if (last?.of !== of || last.key !== key) {
    const notices: string[] = []
    const onEvent = (event: ProgressEvent) => {
      if (event.type === 'notice') notices.push(event.message)
    }
    last = { of, key, model: await finish((await cutter())(of, { keep, size }), onEvent), notices }
  }
  return last
}
