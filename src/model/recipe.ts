// `fasp.json` beside the weights says which rows of the source are left; here it is checked to be about these weights.
import { FormatError } from '../base/errors.ts'
import { isJsonObject } from '../base/json.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { type Architecture, attentionHalves, expertsOf, layerWidths } from './architecture.ts'

/** @throws FormatError where the kept indices do not fit the widths of the weights */
export function checkRecipe(a: Architecture, { name, recipe }: Checkpoint): void {
  if (recipe?.layers === undefined) return // an export of a model that is not pruned has none
  const mismatch = (problem: string) =>
    new FormatError(
      `${name}/fasp.json`,
      `${problem}. It does not belong to these weights: remove it, or fetch the folder again.`,
    )
  const { layers, widths } = recipe as { layers?: unknown; widths?: { before?: { ffn?: unknown; experts?: unknown } } }
  const experts = expertsOf(a)
  const stored = layerWidths(a)
  const attentions = attentionHalves(a)
  if (!Array.isArray(layers) || layers.length !== stored.length)
    throw mismatch(`"layers" must be a list of ${stored.length}, as many as the model has`)
  for (const [i, { ffn, values }] of stored.entries()) {
    const before = widths?.before?.ffn
    if (isJsonObject(layers[i]) && layers[i].ffn && !(Number.isInteger(before) && Number(before) >= ffn))
      throw mismatch(`"widths.before.ffn" must be an integer from ${ffn} on`)
    if (experts > 0) checkKept(i, 'ffn', [experts], Number(widths?.before?.experts))
    else checkKept(i, 'ffn', [ffn], Number(before))
    checkKept(i, 'attention', values, attentions[i].headSize)
  }

  /** @param stored rows in the weights of each KV head, or of the FFN; `size` of them where the layout pads */
  function checkKept(layer: number, half: 'ffn' | 'attention', stored: readonly number[], size: number): void {
    const result: unknown = (layers as unknown[])[layer]
    const kept: unknown = isJsonObject(result) && isJsonObject(result[half]) ? result[half].kept : undefined
    if (kept === undefined) return // nothing was cut there
    const where = `"layers[${layer}].${half}.kept"`
    const rows = size * stored.length
    if (!ascending(kept, rows)) throw mismatch(`${where} must be ascending integers from 0 to ${rows - 1}`)
    const found = stored.map((_, head) => kept.filter(row => Math.floor(row / size) === head).length)
    if (stored.some((count, head) => count !== size && count !== found[head]))
      throw mismatch(`${where} has ${found.join(', ')} indices; the weights have ${stored.join(', ')} rows`)
  }
}

const ascending = (list: unknown, below: number): list is number[] =>
  Array.isArray(list) &&
  list.every((n, i) => Number.isInteger(n) && n >= 0 && n < below && (i === 0 || n > (list[i - 1] as number)))
