// What a killed run goes on from: the values of its steps, and what these made of the streams and of the output.
import { DeviceError, RUNNING } from '../base/errors.ts'
import type { Progress } from '../base/events.ts'
import type { Activations } from './activations.ts'

/** What a step does, and tells while it does it. */
export type Doing<T> = () => Progress<T> | Promise<T>

/** Streams that go through the steps. */
export interface HeldStreams {
  /** All that they hold, by name. @param names also those of these that are not there yet */
  held(names?: readonly string[]): Promise<ReadonlyMap<string, Activations>>
  /** Of several ranks each holds all, the same. @default each holds those of its windows */
  readonly whole?: boolean
}

/** A file of an output that is there when who wrote it has gone. */
export interface WrittenFile {
  /** Tells it from others. */
  readonly name: string
  /** Fills `target`. @throws FormatError where the file ends before */
  read(target: Uint8Array, offset: number): Promise<void>
  /** Waits until the disk has what was written. */
  sync(): Promise<void>
}

/** Where a tensor lies in a file of the output. */
export interface WrittenTensor {
  readonly name: string
  readonly file: WrittenFile
  readonly offset: number
  readonly byteLength: number
}

/** An output that steps write to. */
export interface HeldOutput {
  /** Tensors that are whole, in the order in which they became so. Waits until the disk has them. */
  written(): Promise<readonly WrittenTensor[]>
  /** Tensors are there from an earlier run, in files that the sink has kept. */
  resume(names: readonly string[]): Promise<void>
}

/** What steps change. */
export interface Held {
  readonly streams: Readonly<Record<string, HeldStreams | undefined>>
  readonly outputs?: Readonly<Record<string, HeldOutput | undefined>>
}

export interface Saved {
  /** Whether an earlier run has done a step. */
  has(name: string): boolean
  /** What a step gave when it was done, or what doing it gives: plain data and typed arrays. */
  step<T>(name: string, doing: Doing<T>): Progress<T>
  /** From here on steps change this. What was held before changes no more: its rows may go, its outputs stay. */
  holds(held?: Held): void
  /** Brings what is held to where an earlier run's steps left it. The first step not done does this by itself. */
  restore(): Progress<void>
  /** Nothing can go on from what is saved: it goes, and nothing is saved any more. */
  drop(): Promise<void>
}

/** What a part of a run has its steps done by. */
export type Steps = Pick<Saved, 'has' | 'step'>

/** Steps whose names begin with `start`. */
export const stepsOf = (saved: Steps, start: string): Steps => ({
  has: name => saved.has(`${start} ${name}`),
  step: (name, doing) => saved.step(`${start} ${name}`, doing),
})

/** The same, with steps done in another way. */
export const savedBy = (saved: Saved, step: Saved['step']): Saved => ({
  has: name => saved.has(name),
  step,
  holds: held => saved.holds(held),
  restore: () => saved.restore(),
  drop: () => saved.drop(),
})

/** @param name of the step @throws DeviceError that says at what the device failed */
export async function* done<T>(doing: Doing<T>, name?: string): Progress<T> {
  try {
    const work = doing()
    return 'next' in work ? yield* work : await work
  } catch (error) {
    if (!(error instanceof DeviceError) || !name || error.at !== RUNNING) throw error
    const at = name.replace(/^(attention|ffn) (\d+)$/, 'layer $2, $1')
    throw new DeviceError(error.device, error.problem, { cause: error.cause }, at)
  }
}

/** Saves nothing. */
export const UNSAVED: Saved = {
  has: () => false,
  step: (name, doing) => done(doing, name),
  holds() {},
  restore: () => done(async () => {}),
  drop: async () => {},
}
