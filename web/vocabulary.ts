// The open model with a smaller vocabulary, where that is asked for. The last is kept: the slider moves often.
import type { Settings } from '../src/page/protocol.ts'
import type { cutVocabulary, Model, ProgressEvent } from '../src/web.ts'
import { opened, textsOf } from './opened.ts'

interface Cut {
  readonly of: Model
  readonly key: string
  readonly model: Model
  readonly notices: readonly string[]
}

let last: Cut | undefined

/** @param cutter loads what cuts, with a tokenizer, where it is needed @throws as `opened`, `cutVocabulary` */
export async function withVocabulary(
  settings: Settings,
  cutter: () => Promise<{ readonly cutVocabulary: typeof cutVocabulary }>,
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
    last = { of, key, model: await (await cutter()).cutVocabulary(of, { keep, size, onEvent }), notices }
  }
  return last
}
