// Step 2: what the user has chosen, and the settings that it is.
import type { Compute, Order, Settings } from '../src/page/protocol.ts'
import type { Inspection } from '../src/web.ts'

export const GOALS = {
  stock: [
    'Runs anywhere',
    'One narrower width for all layers. Loads wherever the model loads: llama.cpp, Ollama, transformers.',
  ],
  best: [
    'Least loss',
    'Each layer its own width, by what it costs. Slower to make; llama.cpp runs it, ' +
      'transformers with the code beside it.',
  ],
  laptop: [
    'llama.cpp on a laptop',
    'As “runs anywhere”, to be saved as GGUF in Q4_K_M: a quarter of the bytes besides.',
  ],
  tab: ['A browser tab', 'As “runs anywhere”, to be saved as ONNX in q4 for transformers.js.'],
  gigabyte: ['Fits 1 GB', 'As “runs anywhere”, and as much goes as it must.'],
  size: ['Fits a size', 'The same with a size of yours.'],
} as const

export type Goal = keyof typeof GOALS

/** What the user has chosen, as it stands in the fields. */
export interface Chosen {
  readonly goal: Goal
  readonly percent: number
  readonly megabytes: string
  /** Of the vocabulary in percent, the most that stays; undefined: all of it. */
  readonly vocabulary: number | undefined
  readonly text: string
  readonly own: boolean
  readonly files: readonly File[]
  readonly method: string
  readonly windows: string
  readonly seqLen: string
  readonly seed: string
  readonly compute: Compute
  /** Of `fasp ui`, whose `text` has paths. Empty: a name that is free. */
  readonly output: string
  /** Names of the texts; none where the model writes its own. */
  readonly texts: readonly string[]
}

export const FIRST_CHOICE: Chosen = {
  ...{ goal: 'stock', percent: 20, megabytes: '', vocabulary: undefined, own: false, text: '', files: [], method: '' },
  ...{ windows: '', seqLen: '', seed: '', compute: 'auto', texts: [], output: '' },
}

const OWN_TEXT = 'your-text.txt'
export const MOST_PERCENT = 70
export const GIGABYTE = 1e9
export const FIRST_VOCABULARY = 50

export const textsOf = ({ own, text, files }: Chosen, local: boolean): (File | string)[] => {
  if (!own) return []
  if (local) return text.split('\n').flatMap(line => line.trim() || [])
  return [...(text.trim() ? [new File([text], OWN_TEXT)] : []), ...files]
}

export const textNames = (texts: Settings['texts'] = []): string[] =>
  texts.map(text => (typeof text === 'string' ? text : text.name))

const numberOf = (text: string) => (text.trim() === '' ? undefined : Number(text))

/** Of the tokens of the user's texts so many stay at most. */
export const vocabularyOf = ({ own, vocabulary }: Chosen, { vocabularySize }: Inspection): number | undefined =>
  own && vocabulary !== undefined ? Math.ceil((vocabulary / 100) * vocabularySize) : undefined

/** @param local whether `fasp ui` computes, which knows the model by its path */
export function settingsOf(choice: Chosen, of: Inspection, local: boolean): Settings {
  const model = local ? of.name : undefined
  const { goal, percent, megabytes, method, windows, seqLen, seed, compute } = choice
  const texts = textsOf(choice, model !== undefined)
  return {
    ...(goal === 'size' || goal === 'gigabyte'
      ? { size: goal === 'gigabyte' ? GIGABYTE : Math.round(Number(megabytes) * 1e6) }
      : { sparsity: percent / 100 }),
    vocabulary: vocabularyOf(choice, of),
    method: method.trim() || (goal === 'best' ? 'best' : 'stock'),
    ...(choice.own && { texts }),
    ...{ windows: numberOf(windows), seqLen: numberOf(seqLen), seed: numberOf(seed) },
    ...(model === undefined ? { compute } : { model, output: choice.output.trim() || undefined }),
  }
}

/** As the fields stood for a job. */
export function choiceOf({ settings, output }: Order, { vocabularySize }: Inspection): Chosen {
  const { sparsity, size, method = '', texts = [], windows = '', seqLen = '', seed = '', vocabulary } = settings
  const named = texts.filter(text => typeof text === 'string')
  const files = texts.filter(text => typeof text !== 'string')
  return {
    ...FIRST_CHOICE,
    goal: size !== undefined ? 'size' : method === 'best' ? 'best' : 'stock',
    percent: Math.round(100 * (sparsity ?? FIRST_CHOICE.percent / 100)),
    megabytes: size === undefined ? '' : String(size / 1e6),
    method: ['best', 'stock'].includes(method) ? '' : method,
    ...{ windows: String(windows), seqLen: String(seqLen), seed: String(seed), output },
    ...{ own: texts.length > 0, text: named.join('\n'), files, compute: settings.compute ?? FIRST_CHOICE.compute },
    texts: textNames(texts),
    vocabulary: vocabulary && Math.round((100 * vocabulary) / vocabularySize),
  }
}
