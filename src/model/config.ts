// Reads fields of `config.json` with their checks, so that a model's data file states facts only.
import { UnsupportedModelError } from '../base/errors.ts'
import { describeValue } from '../base/json.ts'
import type { HalfBlock } from './half-block.ts'

/** The deepest models have some hundred layers. A list of them is made before any tensor is looked at. */
const MAX_LAYERS = 2 ** 12
/** Models have up to some hundred heads of up to 512 channels. Tables of as many are made, too. */
const [MAX_HEADS, MAX_HEAD_SIZE] = [2 ** 14, 2 ** 14]

type Json = Readonly<Record<string, unknown>>

/** No size of a real model is near this; a larger one is a damaged or hostile config. */
const MAX_SIZE = 2 ** 24
/** Numbers of real models lie between 1e-12 (epsilons) and 1e9 (rope_theta); float32 has 1e-38 to 3e38. */
const [MIN_NUMBER, MAX_NUMBER] = [1e-20, 1e12]

export class Config {
  constructor(
    /** Where the config came from, for messages. */
    readonly where: string,
    readonly json: Json,
  ) {}

  /** The config with these values of fields that it does not have. */
  or(defaults: Json): Config {
    return new Config(this.where, { ...defaults, ...this.json })
  }

  /** A positive integer. @throws UnsupportedModelError where it is missing without a default, or above `max` */
  size(key: string, fallback?: number, max = MAX_SIZE): number {
    const value = this.json[key] ?? fallback
    if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > max)
      throw this.error(key, value, `an integer from 1 to ${max}`)
    return value as number
  }

  /** As `size`, and 0 where there may be none. */
  count(key: string, fallback: number): number {
    return this.json[key] === 0 ? 0 : this.size(key, fallback)
  }

  /** As `size`, and undefined where the field is null. */
  sizeOrNull(key: string): number | undefined {
    return this.json[key] === null ? undefined : this.size(key)
  }

  layerCount(): number {
    return this.size('num_hidden_layers', undefined, MAX_LAYERS)
  }

  /** The half-blocks of all layers. */
  layers(of: (layer: number) => readonly HalfBlock[]): HalfBlock[] {
    return Array.from({ length: this.layerCount() }, (_, layer) => of(layer)).flat()
  }

  /** Each layer's attention, as transformers 5 lists it; or undefined. @throws UnsupportedModelError if `needed` */
  layerTypes<T extends string>(allowed: readonly T[], needed = false): readonly T[] | undefined {
    const list = this.json.layer_types ?? undefined
    const layers = this.layerCount()
    const all = Array.isArray(list) && list.length === layers
    const wanted = `a list of ${layers}, each ${allowed.join(' or ')}`
    if (all ? !list.every(type => allowed.includes(type)) : needed || list !== undefined)
      throw this.error('layer_types', all ? [...new Set(list)] : list, wanted)
    return list as readonly T[] | undefined
  }

  /** Each layer's window: as transformers 5 lists windows, or by the rule of a family's older configs. */
  windows(older: (layer: number) => boolean): (layer: number) => number | undefined {
    const window = this.sizeOrNull('sliding_window')
    const types = this.layerTypes(['full_attention', 'sliding_attention'])
    return layer => ((types ? types[layer] === 'sliding_attention' : older(layer)) ? window : undefined)
  }

  /** h, k and e. @param hiddenSize d @throws UnsupportedModelError where they do not go together */
  heads(hiddenSize: number): { heads: number; kvHeads: number; headSize: number } {
    const heads = this.size('num_attention_heads', undefined, MAX_HEADS)
    const kvHeads = this.size('num_key_value_heads', heads)
    const headSize = this.size('head_dim', Math.floor(hiddenSize / heads), MAX_HEAD_SIZE)
    if (headSize % 2 !== 0 || (this.json.head_dim == null && headSize * heads !== hiddenSize))
      throw new UnsupportedModelError(
        `${this.where}: ${heads} heads over hidden size ${hiddenSize} give head size ${hiddenSize / heads}; ` +
          'it must be an even integer.',
      )
    if (heads % kvHeads !== 0)
      throw new UnsupportedModelError(`${this.where}: ${heads} query heads cannot share ${kvHeads} KV heads evenly.`)
    return { heads, kvHeads, headSize }
  }

  number(key: string, fallback: number): number {
    const value = this.json[key] ?? fallback
    if (typeof value !== 'number' || !(value >= MIN_NUMBER && value <= MAX_NUMBER))
      throw this.error(key, value, `a number from ${MIN_NUMBER} to ${MAX_NUMBER}`)
    return value
  }

  flag(key: string, fallback: boolean): boolean {
    const value = this.json[key] ?? fallback
    if (typeof value !== 'boolean') throw this.error(key, value, 'true or false')
    return value
  }

  oneOf<T>(key: string, fallback: string, allowed: Readonly<Record<string, T>>): T {
    const value = this.json[key] ?? fallback
    if (typeof value !== 'string' || !Object.hasOwn(allowed, value))
      throw this.error(key, value, `one of ${Object.keys(allowed).join(', ')}`)
    return allowed[value]
  }

  object(key: string): Config | undefined {
    const value = this.json[key]
    if (value === undefined || value === null) return undefined
    if (typeof value !== 'object' || Array.isArray(value)) throw this.error(key, value, 'an object')
    return new Config(`${this.where}, ${key}`, value as Json)
  }

  error(key: string, value: unknown, allowed: string): UnsupportedModelError {
    const got = value === undefined ? 'is missing' : `is ${describeValue(value)}`
    return new UnsupportedModelError(`${this.where}: "${key}" ${got}; it must be ${allowed}.`, { field: key })
  }
}
