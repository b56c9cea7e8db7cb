// Typed access to the metadata of a GGUF file; errors name the key and the file.
import { FormatError } from '../base/errors.ts'
import { describeValue } from '../base/json.ts'
import type { Gguf, GgufValue } from '../formats/gguf-contents.ts'

/** Metadata of `file`. Getters return undefined for a missing key; `need` makes one required. */
export class GgufMetadata {
  /** Of the architecture's own keys, which callers spell `llama.…`. */
  readonly prefix: string

  constructor(
    readonly file: string,
    private readonly values: Gguf['metadata'],
  ) {
    this.prefix = `${values.get('general.architecture') ?? 'llama'}.`
  }

  #stored(key: string): string {
    return key.replace(/^llama\./, this.prefix)
  }

  has(key: string): boolean {
    return this.values.has(this.#stored(key))
  }

  text(key: string): string | undefined {
    return this.#get(key, 'a string', value => typeof value === 'string')
  }

  flag(key: string): boolean | undefined {
    return this.#get(key, 'a boolean', value => typeof value === 'boolean')
  }

  /** A finite number. */
  real(key: string): number | undefined {
    return this.#get(key, 'a finite number', isReal)
  }

  /** A whole number, 0 or more. */
  count(key: string): number | undefined {
    return this.#get(key, 'a whole number', isCount)
  }

  /** A whole number, or an array with the same number for each layer: the only form that a `llama` runs in. */
  uniform(key: string): number | undefined {
    const value = this.values.get(this.#stored(key))
    if (!Array.isArray(value)) return this.count(key)
    return (
      this.#get(key, 'a whole number, the same for all layers', () => new Set(value).size === 1 && isCount(value[0])) &&
      value[0]
    )
  }

  /** A whole number for each of so many layers, or one for all. */
  perLayer(key: string, layers: number): readonly number[] | undefined {
    const value = this.values.get(this.#stored(key))
    if (!Array.isArray(value)) {
      const count = this.count(key)
      return count === undefined ? undefined : new Array<number>(layers).fill(count)
    }
    const counts = this.counts(key)!
    if (counts.length !== layers)
      throw this.error(`the metadata key "${this.#stored(key)}" has ${counts.length} entries, for ${layers} layers`)
    return counts
  }

  texts(key: string): readonly string[] | undefined {
    return this.#get(
      key,
      'an array of strings',
      isArrayOf<string>(item => typeof item === 'string'),
    )
  }

  reals(key: string): readonly number[] | undefined {
    return this.#get(key, 'an array of numbers', isArrayOf(isReal))
  }

  counts(key: string): readonly number[] | undefined {
    return this.#get(key, 'an array of whole numbers', isArrayOf(isCount))
  }

  /** @throws FormatError where `value`, got under `key`, is missing. */
  need<T>(key: string, value: T | undefined): T {
    if (value === undefined)
      throw this.error(`the metadata key "${this.#stored(key)}" is missing. Convert the model again`)
    return value
  }

  /** Undefined where it is no array, too. */
  flags(key: string): readonly boolean[] | undefined {
    const array = Array.isArray(this.values.get(this.#stored(key)))
    return array
      ? this.#get(
          key,
          'an array of booleans',
          isArrayOf<boolean>(item => typeof item === 'boolean'),
        )
      : undefined
  }

  error(problem: string): FormatError {
    return new FormatError(this.file, problem)
  }

  #get<T extends GgufValue>(key: string, wanted: string, is: (value: GgufValue) => value is T): T | undefined
  #get(key: string, wanted: string, is: (value: GgufValue) => boolean): unknown
  #get(key: string, wanted: string, is: (value: GgufValue) => boolean): unknown {
    const value = this.values.get(this.#stored(key))
    if (value === undefined || is(value)) return value
    throw this.error(`the metadata key "${this.#stored(key)}" is ${describe(value)}; ${wanted} is allowed`)
  }
}

const isReal = (value: GgufValue): value is number => typeof value === 'number' && Number.isFinite(value)
const isCount = (value: GgufValue): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
const isArrayOf =
  <T extends GgufValue>(is: (item: GgufValue) => item is T) =>
  (value: GgufValue): value is readonly T[] & GgufValue =>
    Array.isArray(value) && value.every(is)

const describe = (value: GgufValue): string =>
  Array.isArray(value) ? `an array of ${value.length}` : `${typeof value} ${describeValue(value)}`
