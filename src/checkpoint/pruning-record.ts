// How a model was pruned: `fasp.json` beside its weights, or the keys `fasp.…` of a GGUF file.
import { isJsonObject } from '../base/json.ts'
import type { Checkpoint } from './checkpoint.ts'

export interface Pruned {
  /** Name of what it was made from. */
  readonly source: string
  /** Its id on the Hub, where it is known. */
  readonly hubId?: string
  /** As `--method` takes it. */
  readonly method: string
  /** Fraction of the decoder linears that went. */
  readonly sparsity: number
  /** Tokens that it was healed on after that. @default it was not */
  readonly healed?: number
}

/** Undefined for a model that is not pruned, or by others. */
export function prunedFrom({ recipe, gguf, card }: Pick<Checkpoint, 'recipe' | 'gguf' | 'card'>): Pruned | undefined {
  const object = (value: unknown) => (isJsonObject(value) ? value : {})
  const { name, hubId } = object(recipe?.source)
  const { method, sparsity } = object(recipe?.options)
  const { tokens } = object(recipe?.healed)
  const key = (name: string) => gguf?.metadata.get(`fasp.${name}`)
  const found = recipe
    ? { source: name, hubId, method, sparsity }
    : { source: key('source'), hubId: card?.hubId, method: key('method'), sparsity: key('sparsity') }
  const healed = recipe ? tokens : key('healed_tokens')
  const isText = (value: unknown) => typeof value === 'string'
  const known = isText(found.source) && isText(found.method) && typeof found.sparsity === 'number'
  if (!known || (found.hubId !== undefined && !isText(found.hubId))) return undefined
  return { ...(found as Pruned), ...(typeof healed === 'number' && { healed }) }
}

/** How near to the dense model healing took it, in nats a token on held-out windows. */
export interface Healed {
  readonly tokens: number
  /** The step that is kept. */
  readonly step: number
  readonly kl: { readonly before: number; readonly after: number }
  /** The KL after steps, from step 0 on; NaN where it was none. */
  readonly curve: readonly { readonly step: number; readonly kl: number }[]
}

/** Undefined for a model that is not healed, and for a GGUF file, which has the tokens alone. */
export function healedFrom({ recipe }: Pick<Checkpoint, 'recipe'>): Healed | undefined {
  if (!isJsonObject(recipe?.healed)) return undefined
  const { tokens, step, kl, curve } = recipe.healed
  if (!isJsonObject(kl) || !Array.isArray(curve)) return undefined
  const points = curve.flatMap(
    point => (isJsonObject(point) ? [{ step: point.step, kl: point.kl ?? Number.NaN }] : []), // JSON has no NaN
  )
  const { before, after } = kl
  const numbers = [tokens, step, before, after, ...points.flatMap(point => [point.step, point.kl])]
  const whole = points.length === curve.length && numbers.every(one => typeof one === 'number')
  return whole ? ({ tokens, step, kl: { before, after }, curve: points } as object as Healed) : undefined
}

/** Tokens that a model was healed on, whoever pruned it; undefined where it was not. */
export const healedOn = (of: Pick<Checkpoint, 'recipe' | 'gguf' | 'card'>): number | undefined =>
  healedFrom(of)?.tokens ?? prunedFrom(of)?.healed

/** "65,536 tokens" that it was healed on; undefined where it was not. */
export const healedTokens = ({ healed }: Pick<Pruned, 'healed'>): string | undefined =>
  healed === undefined ? undefined : `${healed.toLocaleString('en')} tokens`

/** "healed, 65,536 tokens" after a comma; empty where it was not. */
export function healedText(of: Pick<Pruned, 'healed'>): string {
  const tokens = healedTokens(of)
  return tokens ? `, healed, ${tokens}` : ''
}

/** What a pruned model is called beside the dense one: "healed, 65,536 tokens", or "pruned". */
export const prunedText = ({ healed }: { readonly healed?: { readonly tokens: number } }): string =>
  healed ? `healed, ${healedTokens({ healed: healed.tokens })}` : 'pruned'

/** 0.2 → "20 %". */
export const sparsityText = ({ sparsity }: Pick<Pruned, 'sparsity'>): string => `${+(100 * sparsity).toFixed(1)} %`
