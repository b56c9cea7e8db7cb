// The part of pickle protocol 2 that `torch.save` writes, as a machine that never looks up or runs code: the caller
// decides what each global and each call means, and everything unknown is refused by name.
// Source: CPython Lib/pickletools.py (opcodes), torch/_weights_only_unpickler.py (the same idea in PyTorch).
import { FormatError } from '../base/errors.ts'
import { quote } from '../base/json.ts'

/** A tensor takes some 21 values, so this is for 9,000. A list or dict takes up to 240 bytes: 48 MB in all. */
const MAX_VALUES = 200_000
/** Longest `module` or `name` line of a global. */
const MAX_GLOBAL = 256

export class Tuple {
  constructor(readonly items: readonly PickleValue[]) {}
}
/** A name that the caller allowed; calling it is the caller's `reduce`. */
export class Global {
  constructor(readonly name: string) {}
}
/** What the caller made of a persistent id or a call. */
export abstract class Made {}

export type PickleKey = string | number
export type PickleDict = Map<PickleKey, PickleValue>
export type PickleValue = null | boolean | number | string | Tuple | PickleValue[] | PickleDict | Global | Made

export interface PickleHandlers {
  /** Names (`module.name`) that may be referred to. */
  readonly globals: ReadonlySet<string>
  /** What `name(...args)` stands for. @throws FormatError for a call that makes no sense. */
  reduce(name: string, args: readonly PickleValue[]): PickleValue
  /** What a persistent id stands for. @throws FormatError for an unknown one. */
  persistent(id: PickleValue): PickleValue
}

/** Opcodes that `torch.save` does not need but that others use, by name for messages. Most build or call objects. */
const REFUSED: ReadonlyMap<number, string> = new Map([
  [0x69, 'INST'],
  [0x6f, 'OBJ'],
  [0x81, 'NEWOBJ'],
  [0x82, 'EXT1'],
  [0x83, 'EXT2'],
  [0x84, 'EXT4'],
  [0x8c, 'SHORT_BINUNICODE'],
  [0x92, 'NEWOBJ_EX'],
  [0x93, 'STACK_GLOBAL'],
  [0x94, 'MEMOIZE'],
  [0x95, 'FRAME'],
])

/** The value that `bytes` pickles. @throws FormatError for an unknown opcode or global, a bad pickle, or a large one */
export function unpickle(bytes: Uint8Array, file: string, handlers: PickleHandlers): PickleValue {
  return new Machine(bytes, file, handlers).run()
}

const UTF8 = new TextDecoder()

class Machine {
  private at = 0
  private pushed = 0
  private stack: PickleValue[] = []
  private readonly marks: number[] = []
  private readonly memo = new Map<number, PickleValue>()
  private readonly view: DataView

  constructor(
    private readonly bytes: Uint8Array,
    private readonly file: string,
    private readonly handlers: PickleHandlers,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  run(): PickleValue {
    for (;;) {
      const opcode = this.u8()
      if (opcode === 0x2e /* STOP */) break
      const value = this.value(opcode)
      if (value === undefined) this.act(opcode)
      else if (this.stack.push(value) && ++this.pushed > MAX_VALUES) throw this.tooMany()
    }
    const result = this.pop()
    if (this.stack.length > 0 || this.marks.length > 0) throw this.fail('leaves values on its stack')
    return result
  }

  /** What an opcode pushes, or undefined where it does something else. */
  private value(opcode: number): PickleValue | undefined {
    switch (opcode) {
      case 0x4e: // NONE
        return null
      case 0x88: // NEWTRUE
        return true
      case 0x89: // NEWFALSE
        return false
      case 0x4a: // BININT
        return this.view.getInt32(this.take(4), true)
      case 0x4b: // BININT1
        return this.u8()
      case 0x4d: // BININT2
        return this.view.getUint16(this.take(2), true)
      case 0x8a: // LONG1
        return this.long()
      case 0x47: // BINFLOAT
        return this.view.getFloat64(this.take(8), false)
      case 0x58: // BINUNICODE
        return this.text(this.u32())
      case 0x55: // SHORT_BINSTRING
        return this.text(this.u8())
      case 0x29: // EMPTY_TUPLE
        return new Tuple([])
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        return new Tuple(Array.from({ length: opcode - 0x84 }, () => this.pop()).reverse())
      case 0x74: // TUPLE
        return new Tuple(this.popMark())
      case 0x5d: // EMPTY_LIST
        return []
      case 0x7d: // EMPTY_DICT
        return new Map()
      case 0x68: // BINGET
        return this.recall(this.u8())
      case 0x6a: // LONG_BINGET
        return this.recall(this.u32())
      case 0x63: // GLOBAL
        return this.global(this.line(), this.line())
      case 0x52: // REDUCE
        return this.reduce()
      case 0x51: // BINPERSID
        return this.handlers.persistent(this.pop())
      default:
        return undefined
    }
  }

  private act(opcode: number): void {
    switch (opcode) {
      case 0x80: // PROTO
        this.protocol(this.u8())
        break
      case 0x28: // MARK
        if (this.marks.push(this.stack.length) > MAX_VALUES) throw this.tooMany()
        break
      case 0x61: // APPEND
        this.append([this.pop()])
        break
      case 0x65: // APPENDS
        this.append(this.popMark())
        break
      case 0x73: // SETITEM
        this.setItems([this.pop(), this.pop()].reverse())
        break
      case 0x75: // SETITEMS
        this.setItems(this.popMark())
        break
      case 0x71: // BINPUT
        this.remember(this.u8())
        break
      case 0x72: // LONG_BINPUT
        this.remember(this.u32())
        break
      case 0x62: // BUILD
        this.build()
        break
      default:
        this.refuse(opcode)
    }
  }

  private refuse(opcode: number): never {
    const operands =
      opcode === 0x93
        ? ` of ${quote(
            this.stack
              .slice(-2)
              .map(part => (typeof part === 'string' ? part : '?'))
              .join('.'),
          )}`
        : '' // STACK_GLOBAL
    const name = `${REFUSED.get(opcode) ?? 'unknown'} (0x${opcode.toString(16)})${operands}`
    throw this.fail(`uses opcode ${name}, which no plain checkpoint needs: refused`)
  }

  private protocol(version: number): void {
    if (version === 2) return
    throw this.fail(`has pickle protocol ${version}; allowed is 2. Save it again with torch.save's default protocol`)
  }

  private pop(): PickleValue {
    if (this.stack.length <= (this.marks.at(-1) ?? 0)) throw this.fail('takes more from its stack than there is')
    return this.stack.pop()!
  }

  private top(): PickleValue {
    if (this.stack.length <= (this.marks.at(-1) ?? 0)) throw this.fail('takes more from its stack than there is')
    return this.stack.at(-1)!
  }

  private popMark(): PickleValue[] {
    const mark = this.marks.pop()
    if (mark === undefined) throw this.fail('ends a group that never began')
    return this.stack.splice(mark)
  }

  private append(items: PickleValue[]): void {
    const list = this.top()
    if (!Array.isArray(list)) throw this.fail('appends to what is no list')
    for (const item of items) list.push(item)
  }

  private setItems(items: PickleValue[]): void {
    const dict = this.top()
    if (!(dict instanceof Map) || items.length % 2 !== 0) throw this.fail('sets items of what is no dict')
    for (let i = 0; i < items.length; i += 2) {
      const key = items[i]
      if (typeof key !== 'string' && typeof key !== 'number')
        throw this.fail('has a dict key that is no text or number')
      dict.set(key, items[i + 1])
    }
  }

  private remember(index: number): void {
    this.memo.set(index, this.top())
    if (this.memo.size > MAX_VALUES) throw this.tooMany()
  }

  private recall(index: number): PickleValue {
    const value = this.memo.get(index)
    if (value === undefined) throw this.fail(`recalls value ${index}, which it never stored`)
    return value
  }

  private global(module: string, name: string): Global {
    const full = `${module}.${name}`
    if (this.handlers.globals.has(full)) return new Global(full)
    const allowed = [...this.handlers.globals].join(', ')
    throw this.fail(`refers to ${quote(full)}, which could run code: refused. Allowed are ${allowed}`)
  }

  private reduce(): PickleValue {
    const args = this.pop()
    const callee = this.pop()
    if (!(callee instanceof Global) || !(args instanceof Tuple)) throw this.fail('calls what is no function: refused')
    return this.handlers.reduce(callee.name, args.items)
  }

  /** Attributes of an OrderedDict (`_metadata` of a state dict): dropped. */
  private build(): void {
    this.pop()
    if (!(this.top() instanceof Map)) throw this.fail('sets attributes (BUILD) of what is no OrderedDict: refused')
  }

  private long(): number {
    const length = this.u8()
    const start = this.take(length)
    let value = 0n
    for (let i = length - 1; i >= 0; i--) value = value * 256n + BigInt(this.bytes[start + i])
    const number = Number(BigInt.asIntN(length * 8, value))
    if (!Number.isSafeInteger(number)) throw this.fail('has an integer beyond 2^53')
    return number
  }

  private text(length: number): string {
    const start = this.take(length)
    return UTF8.decode(this.bytes.subarray(start, start + length))
  }

  private line(): string {
    const end = this.bytes.subarray(this.at, this.at + MAX_GLOBAL).indexOf(10)
    if (end < 0) throw this.fail(`has a global name that does not end within ${MAX_GLOBAL} bytes`)
    const text = this.text(end)
    this.take(1)
    return text
  }

  private u8(): number {
    return this.view.getUint8(this.take(1))
  }

  private u32(): number {
    return this.view.getUint32(this.take(4), true)
  }

  /** Moves past `count` bytes and gives their offset. */
  private take(count: number): number {
    const start = this.at
    if (start + count > this.bytes.byteLength) throw this.fail('ends early; the file is cut short, download it again')
    this.at += count
    return start
  }

  private tooMany(): FormatError {
    return this.fail(`makes more than ${MAX_VALUES} values, far more than the tensors of a model need`)
  }

  private fail(problem: string): FormatError {
    return new FormatError(this.file, `its pickle ${problem} (at byte ${this.at})`)
  }
}
