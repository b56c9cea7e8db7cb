// How much to cut: the same widths for every layer, so that the decoder linears shrink by `sparsity` while Q and K stay
// whole (arXiv 2501.09412, §3.1: the other matrices are cut harder). Whole heads, with rows of Q and K, go as in
// Wanda-sp: ⌊s · k⌋ of k KV heads (FLAP's code, lib/prune.py), and the FFN makes up for the rest, so that all methods
// reach the same size.
import { UsageError } from '../../base/errors.ts'
import { type Architecture, decoderLinears, fullWidths, type Scope } from '../../model/architecture.ts'
import type { Widths } from '../../model/half-block.ts'

export interface WidthOptions {
  readonly sparsity: number
  readonly scope: Scope
  /** FFN widths are rounded to a multiple of this. */
  readonly multiple: number
}

/** @throws UsageError where the scope is too small for the sparsity, or rounding leaves no neuron */
export function uniformWidths(a: Architecture, { sparsity, scope, multiple }: WidthOptions): Widths {
  const full = fullWidths(a)
  if (sparsity === 0 || scope === 'layers') return { ffn: full.ffn, value: full.value }
  const { qk, vo, ffn } = decoderLinears(a)
  const total = qk + vo + ffn
  const goneHeads = scope === 'ffn+heads' ? Math.floor(sparsity * full.kvHeads) : 0
  const goneWithHeads = ((qk + vo) * goneHeads) / full.kvHeads
  const prunable = scope === 'ffn+vo' ? ffn + vo : ffn
  const cut = (sparsity * total - goneWithHeads) / prunable
  if (cut >= 1)
    throw new UsageError(
      `sparsity ${sparsity} cannot be reached: scope ${scope} covers ` +
        `${((100 * (prunable + goneWithHeads)) / total).toFixed(0)} % of the decoder linears.` +
        (scope === 'ffn'
          ? ' Use a method that cuts attention too (best, paper, plain:scope=ffn+ragged) or a lower sparsity.'
          : ' Use a lower sparsity.'),
    )
  if (scope === 'experts') {
    const experts = Math.round((1 - cut) * (full.experts ?? 0))
    if (experts < 1)
      throw new UsageError(`sparsity ${sparsity} would leave none of ${full.experts} experts. Use a lower sparsity.`)
    return { ffn: full.ffn, value: full.value, experts }
  }
  const widths = {
    ffn: Math.min(full.ffn, Math.round((full.ffn * (1 - cut)) / multiple) * multiple),
    value: scope === 'ffn+vo' ? Math.round(full.value * (1 - cut)) : full.value,
    ...(goneHeads > 0 && { kvHeads: full.kvHeads - goneHeads }),
  }
  if (widths.ffn < 1 || widths.value < 1)
    throw new UsageError(
      `sparsity ${sparsity} would leave ${widths.ffn} of ${full.ffn} neurons and ${widths.value} of ${full.value} ` +
        'value channels per head. Use a lower sparsity or a smaller multiple.',
    )
  return widths
}

/** Kernels work in tiles, and other widths waste a part of the last tile. 256 suits GGUF's K-quants too. */
const TILES = [256, 128, 64, 32]
/** The largest part of a width that a tile may be, so that rounding moves the sparsity by little. */
const MAX_TILE_SHARE = 1 / 32

/** The default multiple of stock widths: 256, less for small models. */
export const defaultMultiple = (ffnWidth: number): number =>
  TILES.find(tile => tile <= ffnWidth * MAX_TILE_SHARE) ?? Math.min(TILES.at(-1)!, ffnWidth)
