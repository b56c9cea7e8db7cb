// One question of a task: what the model reads, what it may answer, and which answer is right.
import { describeValue } from '../../base/json.ts'

/** A record of a data set, as a .jsonl or .parquet file has it. */
export type Fields = Readonly<Record<string, unknown>>

export interface TaskItem {
  /** For each choice, the text that is given and the text that is scored after it. */
  readonly requests: readonly { readonly context: string; readonly continuation: string }[]
  /** Characters (code points) of each choice, by which acc_norm divides. */
  readonly lengths: readonly number[]
  /** Number of the right choice. */
  readonly gold: number
}

/** Between a question and an answer: `target_delimiter` of the harness. */
const DELIMITER = ' '

/** Python's `len`. */
const characters = (text: string): number => [...text].length

/** An item with one question. @throws Error where `gold` is none of the choices */
export function question(context: string, choices: readonly string[], gold: number): TaskItem {
  const requests = choices.map(choice => ({ context, continuation: DELIMITER + choice }))
  return { requests, lengths: choices.map(characters), gold: checkGold(gold, choices) }
}

/** An item whose choices stand in the text before the continuation. @throws Error where `gold` is none of the choices */
export function blank(contexts: readonly string[], ending: string, gold: number): TaskItem {
  const requests = contexts.map(context => ({ context, continuation: DELIMITER + ending }))
  return { requests, lengths: contexts.map(characters), gold: checkGold(gold, contexts) }
}

function checkGold(gold: number, choices: readonly string[]): number {
  if (Number.isInteger(gold) && gold >= 0 && gold < choices.length) return gold
  throw new Error(`the right answer is none of the ${choices.length} choices`)
}

/** A string field. @throws Error */
export function text(fields: Fields, name: string): string {
  const value = fields[name]
  if (typeof value === 'string') return value
  throw new Error(`${problem(name, value)}; it must be a string`)
}

/** A list of strings. @throws Error */
export function texts(fields: Fields, name: string): readonly string[] {
  const value = fields[name]
  if (Array.isArray(value) && value.length > 0 && value.every(one => typeof one === 'string')) return value
  throw new Error(`${problem(name, value)}; it must be a list of strings`)
}

/** A label: a number, as text, or as a class number (bigint in parquet). @throws Error */
export function label(fields: Fields, name: string): number {
  const value = fields[name]
  const number = typeof value === 'string' && value.trim() === '' ? Number.NaN : Number(value ?? Number.NaN)
  if (Number.isInteger(number)) return number
  throw new Error(`${problem(name, value)}; it must be the number of the right choice`)
}

const problem = (name: string, value: unknown): string =>
  value === undefined ? `there is no "${name}"` : `"${name}" is ${describeValue(value)}`
