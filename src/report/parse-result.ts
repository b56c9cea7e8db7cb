// result.json from a file that may be cut short, of another kind or version, or changed by hand: text → ResultFile, checked field by field.

import { FormatError } from '../base/errors.ts'
import { describeValue, isJsonObject, parseJson, quote } from '../base/json.ts'
import { VERSION } from '../base/version.ts'
import { OPTIONAL_FACTS } from '../engine/facts.ts'
import type { PruneResult } from '../result/result.ts'
import { RESULT_COMMANDS, RESULT_SCHEMA, type ResultFile } from './result-file.ts'

/**
 * The result in `text`. Fields that this version does not know stay as they are.
 * @param file name for messages
 * @throws FormatError where it is not JSON, not a result, of a newer schema, or has a field that is missing or of the wrong kind
 */
export function parseResult(text: string, file: string): ResultFile {
  const value = parse(text, file)
  if (!isJsonObject(value) || !isOneOf(RESULT_COMMANDS, value.command))
    throw new FormatError(file, `is ${describe(value)}, not a result of fasp prune, eval or compare. ${GIVE}`)
  if (value.schema !== RESULT_SCHEMA)
    throw new FormatError(
      file,
      `has schema ${describeValue(value.schema)}; fasp ${VERSION} reads schema ${RESULT_SCHEMA}. Use the fasp that wrote it${typeof value.fasp === 'string' ? ` (${quote(value.fasp)})` : ''}, or a newer one.`,
    )
  try {
    return RESULT(value, '') as ResultFile
  } catch (error) {
    if (!(error instanceof Wrong)) throw error
    throw new FormatError(file, `${error.message}. The file was changed or is damaged; make it again.`)
  }
}

export const GIVE = 'Give a .json that --report or fasp compare wrote.'

function parse(text: string, file: string): unknown {
  if (text.trim() === '') throw new FormatError(file, `is empty. ${GIVE}`)
  try {
    return parseJson(text)
  } catch (cause) {
    throw new FormatError(file, `is cut short, or is not JSON (${quote((cause as Error).message)}). ${GIVE}`, { cause })
  }
}

const isOneOf = <T>(allowed: readonly T[], value: unknown): value is T => allowed.includes(value as T)

function describe(value: unknown): string {
  if (!isJsonObject(value)) return 'JSON'
  if ('source' in value && 'layers' in value) return 'the fasp.json of a pruned model'
  return 'speeds' in value ? 'a result of fasp bench' : 'JSON'
}

/** What is wrong, and in which field. */
class Wrong extends Error {}

/** Checks a value and gives it back. `at`: where it is in the file. */
type Check = (value: unknown, at: string) => unknown

const wrong = (value: unknown, at: string, expected: string): never => {
  const found = value === undefined ? 'is missing' : `is ${describeValue(value)}`
  throw new Wrong(`${at} ${found}; it must be ${expected}`)
}

const text: Check = (value, at) => (typeof value === 'string' ? value : wrong(value, at, 'text'))
const flag: Check = (value, at) => (typeof value === 'boolean' ? value : wrong(value, at, 'true or false'))
const number: Check = (value, at) =>
  value === null ? Number.NaN : typeof value === 'number' ? value : wrong(value, at, 'a number')
const oneOf =
  (allowed: readonly string[]): Check =>
  (value, at) =>
    isOneOf<unknown>(allowed, value) ? value : wrong(value, at, `one of ${allowed.join(', ')}`)
const list =
  (item: Check): Check =>
  (value, at) =>
    Array.isArray(value) ? value.map((one, i) => item(one, `${at}[${i}]`)) : wrong(value, at, 'a list')
const optional =
  (check: Check): Check =>
  (value, at) =>
    value === undefined ? undefined : check(value, at)
const fields = (value: unknown, at: string) => (isJsonObject(value) ? value : wrong(value, at, 'an object'))
const below = (at: string, name: string) => (at === '' ? name : `${at}.${name}`)
/** An object whose values are all of one kind. */
const record =
  (item: Check): Check =>
  (value, at) =>
    Object.fromEntries(Object.entries(fields(value, at)).map(([name, one]) => [name, item(one, below(at, name))]))
const object =
  (checks: Readonly<Record<string, Check>>): Check =>
  (value, at) => {
    const found = fields(value, at)
    const checked = Object.entries(checks).map(([name, check]) => [name, check(found[name], below(at, name))])
    return { ...found, ...Object.fromEntries(checked.filter(([, one]) => one !== undefined)) }
  }

const ESTIMATE = object({ value: number, standardError: number })
const WIDTHS = object({ ffn: number, value: number, kvHeads: optional(number), experts: optional(number) })
const HALF = object({
  ...{ kept: optional(list(number)), errorBefore: number, errorAfter: number },
  ...{ heldOutError: optional(number), damp: number },
})
const POINT = object({ width: number, cost: number })
const BEFORE_AFTER = object({ before: number, after: number })
const LOSS = object({ windows: number, dense: number, pruned: number })

const PRUNE: Check = (value, at) => {
  const prune = PRUNE_FIELDS(value, at) as PruneResult
  const [widths, layers] = [prune.widths.after.length, prune.layers.length]
  if (widths !== layers)
    throw new Wrong(
      `${at}.widths.after has ${widths} layers and ${at}.layers has ${layers}; it must be the same number`,
    )
  return prune
}

const HEALED = object({
  ...{ tokens: number, step: number, steps: number, dense: text, kl: BEFORE_AFTER, products: optional(text) },
  curve: list(object({ step: number, kl: number })),
})

const PRUNE_FIELDS = object({
  fasp: text,
  source: object({ name: text, format: text, modelType: text }),
  vocabulary: optional(
    object({
      ...{ tokens: BEFORE_AFTER, parameters: number },
      texts: list(object({ name: text, tokensPerWord: BEFORE_AFTER })),
    }),
  ),
  options: record(value => value),
  widths: object({ before: WIDTHS, after: list(WIDTHS) }),
  sizes: object({
    decoderLinears: BEFORE_AFTER,
    parameters: object({ before: number, stored: number, effective: number }),
    weightBytes: BEFORE_AFTER,
  }),
  allocation: optional(
    object({
      probeTokens: number,
      halfBlocks: list(
        object({ layer: number, kind: oneOf(['attention', 'ffn']), probe: POINT, curve: list(POINT), width: number }),
      ),
    }),
  ),
  healed: optional(HEALED),
  removedLayers: optional(list(object({ layer: number, cost: number }))),
  calibration: object({
    source: text,
    seqLen: number,
    texts: list(object({ name: text, used: number, loss: optional(object({ calibratedOn: LOSS, heldOut: LOSS })) })),
  }),
  layers: list(object({ attention: optional(HALF), ffn: optional(HALF) })),
  notices: list(text),
  seconds: record(number),
  engineSeconds: record(number),
  outsideSeconds: optional(record(number)),
})

const MADE = {
  fasp: text,
  created: text,
  machine: object({
    ...{ cpu: optional(text), cores: number, memoryBytes: optional(number), platform: text },
    ...{ node: optional(text), browser: optional(text), onnxruntime: text, device: text },
    ...{ threads: optional(number), deviceMemory: optional(number) },
    ...Object.fromEntries(OPTIONAL_FACTS.map(name => [name, optional(text)])),
  }),
}

const RUN = object({
  name: text,
  sparsity: number,
  prune: optional(PRUNE),
  heal: optional(HEALED),
  perplexity: list(
    object({
      ...{ file: text, windows: number, seqLen: number, tokens: number },
      ...{ perplexity: number, standardError: number, bitsPerByte: optional(number) },
      ...{ bos: flag, calibratedOn: optional(text) },
    }),
  ),
  divergence: optional(list(object({ file: text, windows: number, seqLen: number, kl: number, topAgreement: number }))),
  tasks: list(
    object({ task: text, version: text, items: number, accuracy: ESTIMATE, accuracyNorm: optional(ESTIMATE) }),
  ),
  wordPerplexity: optional(
    object({
      ...{ task: text, version: text, documents: number, seqLen: number },
      ...{ wordPerplexity: number, bytePerplexity: number, bitsPerByte: number },
    }),
  ),
  healed: optional(number),
  parameters: optional(number),
  tokensPerSecond: optional(number),
  samples: list(object({ prompt: text, text, chat: optional(flag) })),
  seconds: record(number),
  peakMemoryBytes: optional(number),
  notices: optional(list(text)),
  exports: optional(list(object({ to: text, dtype: text, folder: text, bytes: number }))),
  failed: optional(text),
  asked: optional(record(value => value)),
  made: optional(object(MADE)),
})

const HASHES = list(object({ file: text, sha256: text }))
const PROTOCOL = object({
  ...{ model: text, text: HASHES, seqLen: number, maxWindows: optional(list(number)), tasks: HASHES },
  ...{ limit: optional(number), calibration: HASHES, samples: number, calibrationSeqLen: number },
  ...{ seed: number, products: optional(text), prompts: list(text), device: text },
})

const RESULT = object({
  ...MADE,
  model: object({ name: text, modelType: text, layers: number, parameters: number, decoderLinears: number }),
  protocol: optional(PROTOCOL),
  evaluation: optional(object({ dense: optional(text), text: HASHES, tasks: HASHES, limit: optional(number) })),
  runs: list(RUN),
})
