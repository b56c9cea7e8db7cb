// What a page opens: models as picked files, Blobs or addresses, and texts. The engine is the caller's.
import { UsageError } from '../base/errors.ts'
import { openSource, type WebSource } from '../checkpoint/open.web.ts'
import type { Engine } from '../engine/engine.ts'
import type { FetchOptions } from '../formats/source.web.ts'
import { architectureOf } from '../model/model.ts'
import type { NamedText } from '../text/calibration.ts'
import { bindVerbs, leave } from './verbs.ts'

export interface WebOptions extends FetchOptions {
  /** `createEngine(ort)`, of `onnxruntime-web`. It stays open. */
  readonly engine: Engine
}

/** What TypeScript would refuse. @throws UsageError */
export function checkGiven(engine: Engine | undefined): Engine {
  if (!engine || !('run' in engine))
    throw new UsageError('no engine. Give one: engine: createEngine(ort), where ort is onnxruntime-web.')
  return engine
}

export const webVerbs = bindVerbs<WebSource, NamedText, FetchOptions, WebOptions>({
  // biome-ignore lint/correctness/useYield: a page tells nothing of what it fetches
  async *checkpoint(source, options) {
    return await openSource(source, { ...options, checkConfig: architectureOf })
  },
  engine: ({ engine }) => ({ engine: checkGiven(engine), [Symbol.asyncDispose]: leave }),
  // biome-ignore lint/correctness/useYield: there is nothing to find
  async *texts(texts = []) {
    return [...texts]
  },
})
