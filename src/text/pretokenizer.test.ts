import { Tokenizer } from '@huggingface/tokenizers'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  correctPreTokenizer,
  cutsBeforeSpace,
  literalContents,
  MergeCutter,
  piecesBeforeSpace,
} from './pretokenizer.ts'

const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
const spaced = fc
  .array(fc.constantFrom('a', 'bc', ' ', '  ', '\n', '\u0085', '\u3000', '\u{1f600}', '.'))
  .map(parts => parts.join(''))

/** One token a character, words and normalizer as they are. */
const characters = Array.from({ length: 0x180 }, (_, i) => String.fromCharCode(i))
const plain = {
  model: { type: 'BPE', vocab: Object.fromEntries(characters.map((c, id) => [c, id])), merges: [] },
  ...{ added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null },
}

describe('piecesBeforeSpace', () => {
  test('cuts between a visible character and a space, nowhere else', () => {
    expect([...piecesBeforeSpace('one two  three\n four. five \u{1f600} ')]).toEqual([
      'one',
      ' two',
      '  three\n four.',
      ' five',
      ' \u{1f600}',
      ' ',
    ])
    expect([...piecesBeforeSpace('')]).toEqual([])
    expect([...piecesBeforeSpace(' a')]).toEqual([' a'])
  })

  test('loses nothing', () => {
    fc.assert(fc.property(spaced, text => [...piecesBeforeSpace(text)].join('') === text))
  })
})

describe('cutsBeforeSpace', () => {
  const tokenizer = { normalizer: null, pre_tokenizer: byteLevel as object | null, added_tokens: [{ content: '<s>' }] }
  const digits = { type: 'Digits', individual_digits: true }
  const sequence = (...pretokenizers: object[]) => ({
    ...tokenizer,
    pre_tokenizer: { type: 'Sequence', pretokenizers },
  })

  test('holds for byte-level BPE with a pattern that we know', () => {
    expect(cutsBeforeSpace(tokenizer)).toBe(true)
    expect(cutsBeforeSpace(sequence(digits, byteLevel))).toBe(true)
  })

  test('does not hold where something reaches over a space', () => {
    const cases = [
      { ...tokenizer, pre_tokenizer: null },
      { ...tokenizer, normalizer: { type: 'Prepend', prepend: '\u2581' } },
      { ...tokenizer, pre_tokenizer: { ...byteLevel, use_regex: false } },
      { ...tokenizer, pre_tokenizer: { ...byteLevel, add_prefix_space: true } },
      { ...tokenizer, pre_tokenizer: { type: 'Split', pattern: { Regex: '.+' }, behavior: 'Isolated' } },
      sequence(digits, { ...byteLevel, use_regex: false }),
      { ...tokenizer, added_tokens: [{ content: 'two words' }] },
      { ...tokenizer, added_tokens: [{ content: '<mask>', lstrip: true }] },
      { ...tokenizer, added_tokens: [{ content: '<mask>', rstrip: true }] },
    ]
    for (const one of cases) expect(cutsBeforeSpace(one), JSON.stringify(one)).toBe(false)
  })
})

describe('MergeCutter', () => {
  // Merges over two letters; BPE in the plain form: again and again the pair of lowest rank, leftmost first.
  const merges = [
    ['a', 'b'],
    ['b', 'c'],
    ['ab', 'c'],
    ['c', 'c'],
    ['\u{1f600}', 'a'],
  ] as const
  const rank = new Map(merges.map(([left, right], index) => [`${left} ${right}`, index]))
  function bpe(text: string): string[] {
    const parts = Array.from(text)
    for (;;) {
      let best = -1
      const rankAt = (i: number) => rank.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity
      for (let i = 0; i + 1 < parts.length; i++) if (rankAt(i) < (best < 0 ? Infinity : rankAt(best))) best = i
      if (best < 0) return parts
      parts.splice(best, 2, parts[best] + parts[best + 1])
    }
  }

  test('cuts where no merge joins the two characters', () => {
    expect(new MergeCutter(merges).cut('abccab\u{1f600}a')).toEqual(['abcc', 'ab', '\u{1f600}a'])
    expect(new MergeCutter(['a b', 'b c']).cut('abcb')).toEqual(['abc', 'b'])
  })

  test('BPE of the pieces is BPE of the whole', () => {
    const text = fc
      .array(fc.constantFrom('a', 'b', 'c', ' ', '\u{1f600}'), { maxLength: 30 })
      .map(parts => parts.join(''))
    const cutter = new MergeCutter(merges)
    fc.assert(
      fc.property(text, whole => {
        expect(cutter.cut(whole).flatMap(bpe)).toEqual(bpe(whole))
      }),
    )
  })
})

test('correctPreTokenizer leaves alone what the library does right', () => {
  const split = { type: 'Split', pattern: { Regex: '\\s' }, behavior: 'Isolated', invert: false }
  for (const config of [null, split, { ...byteLevel, use_regex: false }, { type: 'Metaspace', split: false }])
    expect(correctPreTokenizer(config)).toEqual(config)
})

test('the space before a text is one step, for all that split', () => {
  const library = new Tokenizer({ ...plain, pre_tokenizer: { ...byteLevel, add_prefix_space: true } } as never, {})
  const corrected = correctPreTokenizer({ ...byteLevel, add_prefix_space: true })
  const ours = new Tokenizer({ ...plain, pre_tokenizer: corrected } as never, {})
  for (const text of ['one two', ' one', '', '\n x', '12 a'])
    expect([text, ours.tokenize(text)]).toEqual([text, library.tokenize(text)])
})

test('a dollar that takes the place of something is a dollar', () => {
  const replace = { type: 'Replace', pattern: { String: 'a' }, content: "$&$'" }
  const normalizer = literalContents({ type: 'Sequence', normalizers: [replace] })
  expect(new Tokenizer({ ...plain, normalizer } as never, {}).tokenize('bab')).toEqual([
    ...'b',
    ...replace.content,
    ...'b',
  ])
  expect(literalContents(null)).toBeNull()
})
