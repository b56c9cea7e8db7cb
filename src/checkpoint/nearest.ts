// The supported model that is nearest to an unsupported one by its tensors, and what differs, for messages of refusal.
import { firstOf } from '../base/display.ts'
import type { TensorSource } from '../formats/tensors.ts'

/** Where to read on. */
export const PAGE = 'docs/add-a-model.md says what a family takes.'

export interface Candidate {
  readonly name: string
  /** Its tensors, with their shapes. */
  readonly shapes: readonly (readonly [tensor: string, shape: readonly number[]])[]
  /** Fields of the config that it has no place for, with their values. Asked for where it may be the nearest. */
  fields(): readonly string[]
}

/** Differences that are named: enough to see what kind of layer is another. */
const NAMED = 4

/** A sentence, or nothing where none shares a tensor. */
export function nearestOf(candidates: readonly Candidate[], { tensors }: TensorSource): string {
  let nearest = { alike: 1, fields: Infinity, text: '' }
  for (const { name, shapes, ...candidate } of candidates) {
    const isThere = ([tensor, shape]: (typeof shapes)[number]) => tensors.get(tensor)?.shape.join() === shape.join()
    const alike = shapes.filter(isThere).length
    if (alike < nearest.alike) continue
    const fields = candidate.fields()
    if (alike === nearest.alike && fields.length >= nearest.fields) continue
    const known = new Set(shapes.map(([tensor]) => tensor))
    const missing = kinds(shapes.filter(one => !isThere(one)).map(([tensor]) => tensor))
    const more = kinds([...tensors.keys()].filter(tensor => !known.has(tensor)))
    const facts = [
      `${alike} of its ${shapes.length} tensors are there`,
      missing && `${missing} are not, or of other shapes`,
      more && `it has none like ${more}`,
      fields.length > 0 && `config.json has what it does not know: ${firstOf(fields, NAMED)}`,
    ]
    nearest = { alike, fields: fields.length, text: ` The nearest is ${name}: ${facts.filter(Boolean).join('; ')}.` }
  }
  return nearest.text
}

/** Tensors without the numbers of their layers, each once. */
const kinds = (names: readonly string[]): string =>
  firstOf([...new Set(names.map(name => name.replace(/\.\d+(?=\.)/g, '.N')))], NAMED)
