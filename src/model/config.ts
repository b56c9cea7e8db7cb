// Reads fields of `config.json` with their checks, so that a model's data file states facts only.
import { UnsupportedModelError } from '../errors.ts'
import { describeValue } from '../formats/json.ts'

type Json = Readonly<Record<string, unknown>>

/** No size of a real model is near this; a larger one is a damaged or hostile config. */
const MAX_SIZE = 2 ** 24
/** Numbers of real models lie between 1e-12 (epsilons) and 1e9 (rope_theta); float32, in which they are used, has 1e-38 to 3e38. */
const [MIN_NUMBER, MAX_NUMBER] = [1e-20, 1e12]

export class Config {
  constructor(
    /** Where the config came from, for messages. */
    readonly where: string,
    readonly json: Json,
  ) {}

  /** A positive integer. @throws UnsupportedModelError where it is missing without a default, not one, or above `max` */
  size(key: string, fallback?: number, max = MAX_SIZE): number {
    const value = this.json[key] ?? fallback
    if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > max)
      throw this.error(key, value, `an integer from 1 to ${max}`)
    return value as number
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
    return new UnsupportedModelError(`${this.where}: "${key}" ${got}; it must be ${allowed}.`)
  }
}
