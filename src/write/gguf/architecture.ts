// Which graph of llama.cpp runs a model, and what that depends on.
import type { GgufArchitecture } from '../../checkpoint/checkpoint.ts'
import { type GgufGraph, GRAPHS, gemma3ScoreSize } from '../../checkpoint/gguf-architectures.ts'
import { storedName } from '../../checkpoint/gguf-names.ts'
import { type Architecture, attentionHalves, ffnHalves, layersOf, tensorShapes } from '../../model/architecture.ts'
import { type AttentionHalf, linearsOf } from '../../model/half-block.ts'
import { isScaled, ropeDivisors, ropeOf } from './rope.ts'

/** The family's own graph where it takes the model; else `deci`, or `llama` where all layers are alike. */
export function ggufArchitecture(a: Architecture): GgufArchitecture {
  if (!likeLlama(a)) return a.gguf!
  if (a.compact) return 'deci'
  const [{ heads, headSize }] = attentionHalves(a)
  const isPlain = heads * headSize === a.hiddenSize && ropeDivisors(a).kind === 'one'
  return isPlain || !GRAPHS[a.gguf!].plain ? a.gguf! : 'llama'
}

/** The graph of the family. */
export const familyGraph = (a: Architecture): GgufGraph => GRAPHS[a.gguf!]

/** Whether the graphs of LLaMA run it, too, and so layers that differ in their FFN. */
export const likeLlama = (a: Architecture): boolean => !familyGraph(a).own

/** What llama.cpp has no architecture for; undefined where one of its graphs runs the model. */
export function unlikeGguf(a: Architecture): string | undefined {
  if (!a.gguf) return 'them'
  const graph = familyGraph(a)
  const names = [...tensorShapes(a).keys()]
  const [{ heads, kvHeads, headSize, scale }] = attentionHalves(a)
  if (ffnHalves(a).some(({ activation }) => !graph.activations.includes(activation)))
    return `them without ${graph.activations.join(' or ')} in FFNs`
  const unknown = names.find(name => !storedName(name, graph))
  if (unknown) return `them with ${unknown}`
  if (attentionHalves(a).every(({ rope }) => !rope)) return 'them without rope'
  const { kind } = ropeDivisors(a)
  if (kind !== 'one' && kind !== 'yarn' && kind !== GRAPHS[ggufArchitecture(a)].divisors)
    return 'them with a factor for each rotary frequency'
  if (ropeOf(a).yarn?.usual === false)
    return 'them with another beta_fast, beta_slow or truncate of YaRN than 32, 1 and true'
  if (likeLlama(a)) return undefined
  const mayBias = { none: /$^/, qkv: /[qkv]_proj\.bias$/, all: /./ }[graph.biases ?? 'none']
  if (names.some(name => name.endsWith('.bias') && !mayBias.test(name))) return 'them with biases'
  if (graph.biases === 'all' && a.halves.flatMap(linearsOf).some(({ bias }) => !bias)) return 'them without biases'
  if (graph.plain && heads * headSize !== a.hiddenSize) return 'them where heads do not fill the embedding'
  if (a.tied && !graph.tied) return 'them with a tied head'
  const [{ experts }] = ffnHalves(a)
  if (experts && experts.normalised !== graph.experts!.normalised)
    return `them where the gates of a token ${experts.normalised ? 'are' : 'are not'} divided by their sum`
  if (graph.ungrouped && kvHeads !== heads) return 'them with fewer KV heads than query heads'
  const size = a.gguf === 'gemma3' ? gemma3ScoreSize(layersOf(a), a.hiddenSize, heads, headSize) : headSize
  if (!graph.multipliers && Math.abs(scale * Math.sqrt(size) - 1) > 1e-6)
    return `them where scores are not scaled by 1/√${size}`
  const { withoutRope = Infinity, hybridLayers } = graph
  const hybrid = attentionHalves(a).some(({ window }) => window)
  if (hybridLayers && hybrid !== (layersOf(a) === hybridLayers))
    return `them ${hybrid ? 'with windows in' : 'without windows in'} ${layersOf(a)} layers`
  const turned = ({ layer, rope }: AttentionHalf) =>
    (rope !== undefined) === ((hybridLayers && !hybrid) || (layer + 1) % withoutRope > 0)
  if (!attentionHalves(a).every(turned)) return `them where not every ${withoutRope}th layer goes without rope`
  if (graph.windows && !windowsOf(a))
    return `them where the layers without windows are not every ${graph.windows}th, or every other`
  const own = attentionHalves(a).find(({ rope, window }) => {
    const fits = window && (graph.localTheta || rope?.theta === ropeOf(a).theta)
    return rope && rope !== ropeOf(a) && (isScaled(rope) || !fits)
  })
  return own && `them with the rope of layer ${own.layer}, which others have not`
}

/** The window of all layers but one in `every`; 0 where none has one. Undefined where they are in no such order. */
export function windowsOf(a: Architecture): { readonly window: number; readonly every: number } | undefined {
  const windows = attentionHalves(a).map(({ window }) => window)
  const window = windows.find(n => n !== undefined) ?? 0
  const usual = familyGraph(a).windows!
  const periods = [usual, ...windows.map((_, i) => i + 1)]
  const every = periods.find(every => windows.every((n, i) => (n ?? 0) === ((i + 1) % every > 0 ? window : 0)))
  if (window === 0) return { window, every: usual }
  return every === undefined ? undefined : { window, every }
}
