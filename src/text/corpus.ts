// Whether two texts look like parts of one corpus, by their file names: wikitext2-valid.txt and wikitext2-test.txt. A
// model calibrated on one part does better on the others than elsewhere, so a perplexity measured there flatters it.
import { baseName } from '../base/display.ts'

const EXTENSIONS = /(\.(txt|jsonl|json|parquet|gz))+$/
/** Words that name a part of a corpus. Numbers of four and more digits number its files. */
const PART =
  /^(train|training|valid|validation|val|dev|test|testing|eval|evaluation|calib|calibration|heldout|of|\d{4,})$/

const corpusOf = (path: string): string =>
  baseName(path)
    .toLowerCase()
    .replace(EXTENSIONS, '')
    .split(/[^a-z0-9]+/)
    .filter(word => !PART.test(word))
    .join('')

/** False where the names say nothing but which part it is: `train.txt`. */
export const sameCorpus = (one: string, other: string): boolean =>
  baseName(one) === baseName(other) || (corpusOf(one) !== '' && corpusOf(one) === corpusOf(other))

/** The first text of the same corpus as `text` among the calibration texts that a `fasp.json` names. */
export function calibratedOn(recipe: Readonly<Record<string, unknown>> | undefined, text: string): string | undefined {
  const { texts } = (recipe?.calibration ?? {}) as { texts?: unknown }
  const names = Array.isArray(texts) ? texts.map(t => t?.name).filter(name => typeof name === 'string') : []
  return names.find(name => sameCorpus(name, text))
}
