// Reads fields of `config.json` with their checks, so that a model's data file states facts only.
import { UnsupportedModelError } from '../errors.ts'
import { shorten } from '../formats/json.ts'

type Json = Readonly<Record<string, unknown>>

/** No size of a real model is near this; a larger one is a damaged or hostile config. */
const MAX_SIZE = 2 ** 24

export class Config {
  constructor(
    /** Where the config came from, for messages. */
    readonly where: string,
    readonly json: Json,
  ) {}

  /** A positive integer. @throws UnsupportedModelError where it is missing without a default, or not one */
  size(key: string, fallback?: number): number {
    const value = this.json[key] ?? fallback
    if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > MAX_SIZE)
      throw this.error(key, value, `an integer from 1 to ${MAX_SIZE}`)
    return value as number
  }

  number(key: string, fallback: number): number {
    const value = this.json[key] ?? fallback
    if (typeof value !== 'number' || !(value > 0) || !Number.isFinite(value))
      throw this.error(key, value, 'a number above 0')
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
    const got = value === undefined ? 'is missing' : `is ${shorten(JSON.stringify(value))}`
    return new UnsupportedModelError(`${this.where}: "${key}" ${got}; it must be ${allowed}.`)
  }
}
