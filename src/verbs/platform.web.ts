// What a page opens: models as picked files, Blobs or addresses, and texts. The engine is the caller's.
import { UsageError } from '../base/errors.ts'
import type { Progress } from '../base/events.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { openSource, type WebSource } from '../checkpoint/open.web.ts'
import type { Engine } from '../engine/engine.ts'
import type { FetchOptions } from '../formats/source.web.ts'
import { architectureOf } from '../model/model.ts'
import type { NamedText } from '../text/calibration.ts'
import { bindOpening, bindVerbs, leave } from './verbs.ts'

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

// biome-ignore lint/correctness/useYield: a page tells nothing of what it fetches
async function* checkpoint(source: WebSource, options: FetchOptions): Progress<Checkpoint> {
  return await openSource(source, { ...options, checkConfig: architectureOf })
}

/** Apart from the others: a worker that only plans loads no more. */
export const webOpening = /* @__PURE__ */ bindOpening(checkpoint)

export const webVerbs = /* @__PURE__ */ bindVerbs<WebSource, NamedText, FetchOptions, WebOptions>({
  checkpoint,
  engine: ({ engine }) => ({ engine: checkGiven(engine), [Symbol.asyncDispose]: leave }),
  // biome-ignore lint/correctness/useYield: there is nothing to find
  async *texts(texts = []) {
    return [...texts]
  },
})
