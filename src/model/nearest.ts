// Of an unknown `model_type`: which family is nearest by its tensors, and what differs. Called by `model.ts` for its message.
import type { TensorSource } from '../formats/tensors.ts'
import { type Architecture, ffnCount, tensorShapes } from './architecture.ts'

/** Differences that are named: enough to see what kind of layer is another. */
const NAMED = 4

/** A sentence, or nothing where no family reads the config or shares a tensor. */
export function nearestFamily(families: readonly (() => Architecture)[], { tensors }: TensorSource): string {
  let nearest = { alike: 0, text: '' }
  for (const read of families) {
    const a = orNothing(read)
    if (!a || ffnCount(a) > tensors.size) continue
    const shapes = [...tensorShapes(a)]
    const isThere = ([name, shape]: (typeof shapes)[number]) => tensors.get(name)?.shape.join() === shape.join()
    const alike = shapes.filter(isThere).length
    if (alike <= nearest.alike) continue
    const known = new Set(shapes.map(([name]) => name))
    const missing = kinds(shapes.filter(one => !isThere(one)).map(([name]) => name))
    const more = kinds([...tensors.keys()].filter(name => !known.has(name)))
    const facts = [
      `${alike} of its ${shapes.length} tensors are there`,
      missing && `${missing} are not, or of other shapes`,
      more && `it has none like ${more}`,
    ]
    nearest = { alike, text: ` The nearest is ${a.modelType}: ${facts.filter(Boolean).join('; ')}.` }
  }
  return nearest.text
}

function orNothing(read: () => Architecture): Architecture | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

/** Tensors without the numbers of their layers, each once. */
function kinds(names: readonly string[]): string {
  const all = [...new Set(names.map(name => name.replace(/\.\d+(?=\.)/g, '.N')))]
  return all.slice(0, NAMED).join(', ') + (all.length > NAMED ? ` and ${all.length - NAMED} more` : '')
}
