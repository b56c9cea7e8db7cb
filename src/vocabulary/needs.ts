// The tokens that a token needs, and the tokens that spell any text. BPE (arXiv 1508.07909): no merge crosses the ends
// of a token's span, so inside the span BPE works as on the token's text alone; while all merges of its tokens stay, a
// text is merged as before. Unigram (arXiv 1804.10959): the best path stays the best among fewer.
import { UnsupportedModelError } from '../base/errors.ts'
import { describeValue, type JsonObject } from '../base/json.ts'
import { isByteToken, readMerges } from '../text/tokenizer-json.ts'

export interface Needs {
  /** Tokens that spell any text: bytes, or else all single characters, and the unknown token. */
  readonly always: readonly number[]
  /** A token and those that it needs. */
  of(id: number): readonly number[]
}

const BYTES = 256

/** @throws UnsupportedModelError for a tokenizer that is neither BPE nor Unigram, or marks ends of words */
export function needsOf(name: string, tokenizer: JsonObject): Needs {
  const model = tokenizer.model as JsonObject
  const refuse = (what: string) =>
    new UnsupportedModelError(
      `${name}: its tokenizer ${what}, so its vocabulary cannot be cut; BPE and Unigram can. ` +
        'Leave the vocabulary as it is.',
    )
  const isBpe = model.type === 'BPE'
  if (!isBpe && model.type !== 'Unigram') throw refuse(`is of type ${describeValue(model.type)}`)
  if (model.continuing_subword_prefix || model.end_of_word_suffix) throw refuse('marks beginnings or ends of words')
  const ids = new Map(
    isBpe
      ? Object.entries(model.vocab as Record<string, number>)
      : (model.vocab as [string, number][]).map(([token], id): [string, number] => [token, id]),
  )
  const known = (tokens: readonly string[]) => tokens.map(token => ids.get(token)).filter(id => id !== undefined)
  const tokens = [...ids.keys()]
  const bytes = tokens.filter(isByteToken)
  const spellsInBytes = isBpe && model.byte_fallback === true && bytes.length === BYTES
  const characters = spellsInBytes ? [] : tokens.filter(token => [...token].length === 1)
  const texts = new Map([...ids].map(([token, id]) => [id, token]))
  const parts = isBpe ? mergedParts(model) : () => []
  return {
    always: [...known([...bytes, ...characters]), ...(isBpe ? known([String(model.unk_token)]) : unknownIds(model))],
    of: id => [...new Set([id, ...known(parts(texts.get(id) ?? ''))])],
  }
}

/** The unknown token; and the worst, whose score an unknown character's is computed from. */
function unknownIds({ vocab, unk_id: unknown }: JsonObject): number[] {
  const scores = (vocab as [string, number][]).map(([, score]) => score)
  const worst = scores.indexOf(scores.reduce((a, b) => Math.min(a, b)))
  return typeof unknown === 'number' ? [unknown, worst] : [worst]
}

/** Gives the characters of a token and all that merges make of them. */
function mergedParts(model: JsonObject): (token: string) => string[] {
  const pair = (left: string, right: string) => `${left.length} ${left}${right}`
  const ranks = new Map<string, number>()
  for (const [rank, merge] of readMerges(model).entries()) ranks.set(pair(...merge), rank)
  return token => {
    const parts = [...token]
    const made = [...parts]
    for (;;) {
      let [at, least] = [-1, Number.POSITIVE_INFINITY]
      for (let i = 0; i + 1 < parts.length; i++) {
        const rank = ranks.get(pair(parts[i], parts[i + 1])) ?? least
        if (rank < least) [at, least] = [i, rank]
      }
      if (at < 0) return made
      parts.splice(at, 2, parts[at] + parts[at + 1])
      made.push(parts[at])
    }
  }
}
