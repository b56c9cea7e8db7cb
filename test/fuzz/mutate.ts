// Chance, and what it does to bytes and to JSON. Every case has a Dice of its own seed, so that one case can be made again alone.
import { randomNumbers } from '../../src/base/random.ts'

/** Where readers' arithmetic breaks: around powers of two, and limits of the formats. */
const EDGES = [0, 1, 2, 3, 7, 127, 128, 255, 256, 65_535, 2 ** 24, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53]

export class Dice {
  readonly #random: () => number

  constructor(seed: number) {
    this.#random = randomNumbers(seed)
  }

  /** 0 to n − 1. */
  below = (n: number): number => Math.floor(this.#random() * n)
  chance = (p: number): boolean => this.#random() < p
  pick = <T>(list: readonly T[]): T => list[this.below(list.length)]
  /** `make()` a few times: 0 to n − 1. */
  several = <T>(n: number, make: () => T): T[] => Array.from({ length: this.below(n) }, make)
  /** Small as a rule, else an edge. */
  size = (): number => (this.chance(0.8) ? this.below(9) : Math.max(0, this.pick(EDGES) + this.below(3) - 1))
  /** `value`, or with that probability what `other` gives. */
  or = <T>(p: number, value: T, other: () => T): T => (this.chance(p) ? other() : value)
}

type ByteMutation = (bytes: Uint8Array, at: number, dice: Dice) => Uint8Array

const spliced = (bytes: Uint8Array, at: number, removed: number, more: Uint8Array): Uint8Array =>
  Buffer.concat([bytes.subarray(0, at), more, bytes.subarray(at + removed)])

function overwritten(bytes: Uint8Array, at: number, change: (copy: Uint8Array) => void): Uint8Array {
  const copy = new Uint8Array(bytes)
  if (at < copy.length) change(copy)
  return copy
}

const BYTE_MUTATIONS: readonly ByteMutation[] = [
  (bytes, at, dice) => overwritten(bytes, at, copy => (copy[at] ^= 1 << dice.below(8))),
  (bytes, at, dice) => overwritten(bytes, at, copy => (copy[at] = dice.below(256))),
  (bytes, at, dice) => {
    const word = Buffer.alloc(8)
    word.writeBigUInt64LE(BigInt(dice.size()))
    return overwritten(bytes, at, copy =>
      copy.set(word.subarray(0, Math.min(dice.pick([2, 4, 8]), copy.length - at)), at),
    )
  },
  (bytes, at, dice) => overwritten(bytes, at, copy => copy.fill(dice.pick([0, 0x20, 0xff]), at, at + dice.below(64))),
  (bytes, at) => bytes.subarray(0, at),
  (bytes, at, dice) => spliced(bytes, at, dice.below(32), Buffer.alloc(0)),
  (bytes, at, dice) => spliced(bytes, at, 0, Buffer.from(dice.several(32, () => dice.below(256)))),
  (bytes, at, dice) => spliced(bytes, at, 0, bytes.subarray(at, at + dice.below(200))), // said twice
]

/** One to four changes, half of them at the ends, where headers and directories are. */
export function mutateBytes(bytes: Uint8Array, dice: Dice): Uint8Array {
  for (let i = dice.below(4); i >= 0; i--) {
    const near = Math.min(bytes.length, 120)
    const at = dice.pick([
      dice.below(bytes.length),
      dice.below(bytes.length),
      dice.below(near),
      bytes.length - dice.below(near),
    ])
    bytes = dice.pick(BYTE_MUTATIONS)(bytes, at, dice)
  }
  return bytes
}

/** Text that stands for JSON that no value gives: `toJson` puts it in. */
const DEEP = 20_000
const RAW: Readonly<Record<string, string>> = {
  '\u0001infinite': '1e999',
  '\u0001lists': `${'['.repeat(DEEP)}${']'.repeat(DEEP)}`,
  '\u0001objects': `${'{"a":'.repeat(DEEP)}0${'}'.repeat(DEEP)}`,
  '\u0001twice': '{"a":0,"a":1}',
}
const RAW_STRING = /"(\\u0001\w+)"/g

/** Bytes of a mutated value. */
export const toJson = (value: unknown): Buffer =>
  Buffer.from(JSON.stringify(value).replace(RAW_STRING, (_, name: string) => RAW[JSON.parse(`"${name}"`)]))

/** What a field may hold and should not. An object whose `toString` is no function cannot be put into a message. */
const FOREIGN: readonly unknown[] = [
  ...[null, true, false, -1, 0.5, -0.5, 1e300, -1e300, 1e-320, ...EDGES],
  ...['', ' ', 'a', '\0', '\ud800', '__proto__', 'constructor', '../x', '/etc/passwd', '1', 'x'.repeat(2000)],
  ...[
    [],
    [[]],
    [null],
    [0, 0],
    {},
    { toString: 0 },
    { toString: 0, valueOf: 0 },
    { toJSON: 0 },
    { length: 1e9 },
    { a: {} },
  ],
  ...Object.keys(RAW).slice(0, 1),
]
const RARE = Object.keys(RAW)

const foreign = (dice: Dice): unknown => (dice.chance(0.02) ? dice.pick(RARE) : dice.pick(FOREIGN))

const isContainer = (value: unknown): value is object => typeof value === 'object' && value !== null

/** A value from somewhere in `root`. */
function anywhere(root: unknown, dice: Dice): unknown {
  let value = root
  while (isContainer(value) && dice.chance(0.8)) value = dice.pick(Object.values(value)) ?? null
  return value
}

function near(value: unknown, dice: Dice): unknown {
  if (typeof value === 'number') return dice.pick([value + 1, value - 1, -value, value * 2, value / 2, String(value)])
  if (typeof value !== 'string') return [value]
  const at = dice.below(value.length + 1)
  return dice.pick([
    value.slice(0, at),
    value + value,
    value.slice(0, at) + dice.pick(MARKS) + value.slice(at),
    Number(value),
  ])
}
/** Characters that mean something in names, patterns and texts. */
const MARKS = [
  '.',
  '/',
  '..',
  '\\',
  ':',
  '*',
  '+',
  '(',
  ')',
  '[',
  '^',
  '$',
  '|',
  '{9}',
  '?',
  ' ',
  '\n',
  '\0',
  '\u2581',
  '\ud800',
  'é',
]

const ENTRY_KEYS = ['__proto__', 'constructor', 'toString', '', '0', 'a']

function changeOne(value: unknown, root: unknown, dice: Dice): unknown {
  if (isContainer(value) && dice.chance(0.85)) {
    const entries = Object.entries(value)
    const at = dice.below(entries.length)
    const kind = entries.length === 0 ? 9 : dice.below(20)
    if (kind === 0) entries.splice(at, 1)
    else if (kind === 1) entries.push([dice.pick(ENTRY_KEYS), foreign(dice)])
    else if (kind === 2)
      entries[at] = [dice.or(0.5, String(near(entries[at][0], dice)), () => dice.pick(ENTRY_KEYS)), entries[at][1]]
    else if (kind === 9) entries.push([dice.pick(ENTRY_KEYS), anywhere(root, dice)])
    else entries[at] = [entries[at][0], changeOne(entries[at][1], root, dice)]
    return Array.isArray(value) ? entries.map(([, item]) => item) : Object.fromEntries(entries)
  }
  return dice.pick([foreign, foreign, () => near(value, dice), () => anywhere(root, dice)])(dice)
}

/** One to three changes of a JSON value. The value itself stays as it is. */
export function mutateJson(value: unknown, dice: Dice): unknown {
  for (let i = dice.below(3); i >= 0; i--) value = changeOne(value, value, dice)
  return value
}

/** A JSON file: its value changed, sometimes its text. */
export function jsonCase(value: unknown, dice: Dice): Uint8Array {
  const bytes = toJson(dice.or(0.95, value, () => mutateJson(value, dice)))
  return dice.or(0.1, bytes, () => mutateBytes(bytes, dice))
}
