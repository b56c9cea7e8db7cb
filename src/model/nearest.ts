// The family that is nearest to an unknown `model_type` by its tensors, and what differs, for the message.
import { orError, UnsupportedModelError } from '../base/errors.ts'
import { describeValue } from '../base/json.ts'
import { type Candidate, nearestOf } from '../checkpoint/nearest.ts'
import type { TensorSource } from '../formats/tensors.ts'
import { type Architecture, ffnCount, tensorShapes } from './architecture.ts'
import { Config } from './config.ts'

type Json = Config['json']

/** They say nothing of what a model computes. */
const OTHER_FIELDS = new RegExp(
  '^(_.*|architectures|auto_map|model_type|.*dtype|.*_version|use_cache|initializer_range|pretraining_tp|' +
    '.*_token_id|.*dropout)$',
)

/** A sentence; nothing where no family reads the config or shares a tensor. @param read by the family of a name */
export function nearestFamily(
  families: readonly string[],
  read: (family: string, config: Config) => Architecture,
  { where, json }: Config,
  source: TensorSource,
): string {
  const most = source.tensors.size
  const of = (name: string) => candidates(name, fields => read(name, new Config(where, fields)), json, most)
  return nearestOf(families.flatMap(of), source)
}

/** None where the family cannot read the config, even without refused fields, or has more layers than tensors. */
function candidates(name: string, read: (json: Json) => Architecture, given: Json, most: number): Candidate[] {
  // Lists have an entry a layer.
  const shown = (value: unknown) => describeValue(Array.isArray(value) ? [...new Set(value)] : value)
  const text = (json: Json) => orError(() => JSON.stringify(read(json)))
  for (let json = given; ; ) {
    const a = orError(() => read(json))
    if (!(a instanceof Error)) {
      const fields = () =>
        Object.keys(given)
          .filter(key => given[key] && !OTHER_FIELDS.test(key))
          .filter(key => json[key] === undefined || text({ ...json, [key]: '?' }) === text(json)) // whatever it is
          .map(key => `${key} ${shown(given[key])}`)
      return ffnCount(a) > most ? [] : [{ name, shapes: [...tensorShapes(a)], fields }]
    }
    const refused = a instanceof UnsupportedModelError && a.field
    if (!refused || json[refused] === undefined) return []
    json = { ...json, [refused]: undefined }
  }
}
