// Every error that the library throws on purpose. A message says what, where, what is allowed and what to do.
import { nearest } from './display.ts'

/** Base of all errors of this library. `code` is stable; messages are not. */
export abstract class FaspError extends Error {
  abstract readonly code: string
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
  }
}

/** A file is cut short, lies about its own contents, or is in a form that we do not read. */
export class FormatError extends FaspError {
  readonly code = 'FORMAT'
  /** @param file path or name of the file, as the user gave it */
  constructor(
    readonly file: string,
    problem: string,
    options?: ErrorOptions,
  ) {
    super(`${file}: ${problem}`, options)
  }
}

/** A model that is well-formed but that we cannot prune: unknown `model_type`, missing tensor, shape against config. */
export class UnsupportedModelError extends FaspError {
  readonly code = 'UNSUPPORTED_MODEL'
  /** Of `config.json`, where its value is not supported. */
  readonly field?: string
  constructor(message: string, options?: ErrorOptions & { readonly field?: string }) {
    super(message, options)
    this.field = options?.field
  }
}

/** An option that is unknown, out of range, or contradicts another. The command line exits with 2. */
export class UsageError extends FaspError {
  readonly code = 'USAGE'
}

/** A text with too few tokens, none at all, or in a form that we do not read. */
export class TextError extends FaspError {
  readonly code = 'TEXT'
}

/** Numbers that no result can be built on: NaN or infinite weights or activations, a matrix that cannot be factored. */
export class NumericError extends FaspError {
  readonly code = 'NUMERIC'
}

/** The output exists already, cannot be written, or the disk is full. */
export class OutputError extends FaspError {
  readonly code = 'OUTPUT'
}

/** A run takes more memory than this machine, its container or a limit of the shell gives it. */
export class MemoryError extends FaspError {
  readonly code = 'MEMORY'
}

/** A run of a comparison failed. */
export class RunError extends FaspError {
  readonly code = 'RUN'
}

/** Another process of a run that several work on (MPI) has failed. */
export class GroupError extends FaspError {
  readonly code = 'GROUP'
  constructor(
    readonly rank: number,
    size: number,
    problem: string,
    options?: ErrorOptions,
  ) {
    super(`rank ${rank} of ${size}: ${problem}`, options)
  }
}

/** Of a device that fails. */
export const RUNNING = 'while it ran'

/** A device that does not open, or fails while it runs: no driver, no GPU, no library, no memory left, lost. */
export class DeviceError extends FaspError {
  readonly code = 'DEVICE'
  /** @param at what failed, `RUNNING` where that is not known. @default the device does not open at all */
  constructor(
    readonly device: string,
    readonly problem: string,
    options?: ErrorOptions,
    readonly at?: string,
  ) {
    super(`${device}: ${at ? `${at}: ` : ''}${problem}`, options)
  }
}

/** The Hugging Face Hub cannot be reached, refuses, or has sent what does not match its checksum. */
export class HubError extends FaspError {
  readonly code = 'HUB'
  /** HTTP status, where there was an answer. */
  readonly status?: number
  /** The Hub's own word for it, `X-Error-Code`: RepoNotFound, RevisionNotFound, GatedRepo. */
  readonly reason?: string
  /** @param model the model's name, as the user gave it */
  constructor(
    readonly model: string,
    problem: string,
    options?: ErrorOptions & { readonly status?: number; readonly reason?: string },
  ) {
    super(`${model}: ${problem}`, options)
    this.status = options?.status
    this.reason = options?.reason
  }
}

/** What `work` gives, or the error that it throws. */
export function orError<T>(work: () => T): T | Error {
  try {
    return work()
  } catch (error) {
    return error as Error
  }
}

/** An error for a value that is none of those there are. */
export const notOneOf = (what: string, value: string, allowed: readonly string[]): UsageError =>
  new UsageError(`${what} is "${value}"; it must be one of ${allowed.join(', ')}.${didYouMean(value, allowed)}`)

/** A question that names the one that `value` is near to, after a space; empty where none is. */
export function didYouMean(value: string, allowed: readonly string[], prefix = ''): string {
  const near = nearest(value, allowed)
  return near ? ` Did you mean ${prefix}${near}?` : ''
}
