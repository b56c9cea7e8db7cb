// Tokenizers from strangers: each must end in an error that names the part, by its types and growth, or by time.
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { UnsupportedModelError } from '../base/errors.ts'
import { within } from '../checkpoint/time-limit.node.ts'
import { calibration } from './calibration.ts'
import { checkTokenizer } from './check-tokenizer.ts'
import { loadTokenizer } from './tokenizer.ts'

const base = JSON.parse(readFileSync(new URL('../../assets/tiny-llama/tokenizer.json', import.meta.url), 'utf8'))
const many = <T>(step: T): T[] => Array(30).fill(step)
const byteLevel = { type: 'ByteLevel', add_prefix_space: false, use_regex: false }
const split = (Regex: string, more = {}) => ({ type: 'Split', pattern: { Regex }, behavior: 'Isolated', ...more })
const replace = (content: string, pattern: object = { String: 'a' }) => ({ type: 'Replace', pattern, content })
const normalizer = (...normalizers: unknown[]) => ({ normalizer: { type: 'Sequence', normalizers } })
const words = (...pretokenizers: unknown[]) => ({ pre_tokenizer: { type: 'Sequence', pretokenizers } })
const processor = (...processors: unknown[]) => ({ post_processor: { type: 'Sequence', processors } })
const model = (changes: object) => ({ model: { ...base.model, ...changes } })
/** tiny-llama's, without some tokens and what is merged of them. */
const without = (tokens: readonly string[], changes: object = {}) =>
  model({
    vocab: Object.fromEntries(Object.entries(base.model.vocab).filter(([token]) => !tokens.includes(token))),
    merges: base.model.merges.filter((merge: string[]) => !merge.some(token => tokens.includes(token))),
    ...changes,
  })
const hexTokens = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)
/** A vocabulary of SentencePiece. */
const pieces = (tokens: readonly string[], changes: object = {}) => ({
  pre_tokenizer: null,
  ...model({
    byte_fallback: true,
    vocab: Object.fromEntries(['a', '<unk>', ...tokens].map((token, id) => [token, id])),
    merges: [],
    ...changes,
  }),
})
const sequence = { Sequence: { id: 'A' } }
const nested = many(0).reduce((inside: unknown) => ({ type: 'Sequence', normalizers: [inside] }), null)

describe('checkTokenizer', () => {
  test('counts the entries of a sound one', () => {
    expect(checkTokenizer(base, { bos_token: { content: '<s>' }, eos_token: null })).toBe(
      Object.keys(base.model.vocab).length + base.model.merges.length,
    )
    expect(checkTokenizer({ ...base, normalizer: nested }, {})).toBeGreaterThan(0)
  })

  test('allows what a vocabulary for text need not spell, and bytes that become the unknown token', () => {
    // SmolLM2's lacks these of GPT-2's 256 characters: control characters, and bytes that UTF-8 has not or that begin planes without characters.
    const lacking = [0x4, 0x6, 0x13, 0x14, 0x16, 0x1d].map(byte => 0x100 + byte)
    const smollm2 = [...lacking, 0xc0, 0xc1, 0xf1, 0xf2, ...Array.from({ length: 11 }, (_, i) => 0xf5 + i)]
    for (const changes of [
      without(smollm2.map(code => String.fromCharCode(code))),
      without(['q', 'Ģ'], { unk_token: 'a' }),
      { ...without(['q']), pre_tokenizer: null },
      pieces(hexTokens),
      pieces([], { unk_token: '<unk>' }),
      pieces([], { byte_fallback: false }),
    ])
      expect(checkTokenizer({ ...base, ...changes }, {})).toBeGreaterThan(0)
  })

  test.each<[string, object, RegExp]>([
    ['no parts', { normalizer: undefined }, /normalizer is not null or an object with a text "type"/],
    ['a type that is no text', { decoder: { type: { toString: 0 } } }, /decoder is not/],
    ['sequences without end', normalizer(null, 5), /normalizer is not/],
    ['a list of steps that is none', { normalizer: { type: 'Sequence', normalizers: 'x' } }, /normalizer.normalizers/],
    ['content that is no text', { added_tokens: [{ id: 0, content: { length: 1e9 } }] }, /added_tokens\[0\]/],
    ['an id that is none', { added_tokens: [{ id: -1, content: 'x' }] }, /added_tokens\[0\]/],
    ['added tokens that are no list', { added_tokens: { length: 1e9 } }, /added_tokens is not a list/],
    ['long added tokens', { added_tokens: [{ id: 0, content: 'x'.repeat(3e6) }] }, /has 3000000 characters/],
    ['no pattern', normalizer({ type: 'Replace', content: '' }), /pattern of normalizer "Replace"/],
    ['a prefix that is no text', normalizer({ type: 'Prepend', prepend: {} }), /prepend of normalizer "Prepend"/],
    ['words of no length', words({ type: 'FixedLength', length: 0 }), /length of pre_tokenizer "FixedLength"/],
    ['a template that is no list', processor({ type: 'TemplateProcessing', single: 'A' }), /single of post_processor/],
    ['no token around', processor({ type: 'BertProcessing', sep: ['x', 1], cls: 5 }), /cls of post_processor/],
    ['no model', { model: null }, /model is not an object/],
    ['no vocabulary', model({ vocab: null }), /model.vocab is not/],
    ['ids that are texts', model({ vocab: { a: '0' } }), /the id of "a"/],
    ['scores that are none', { model: { type: 'Unigram', vocab: [['a', 'b']] } }, /model.vocab\[0\]/],
    ['no merges', model({ merges: 'a b' }), /model.merges is not a list/],
    ['merges of one token', model({ merges: ['a b', 'ab'] }), /model.merges\[1\] is not two tokens/],
    ['an unknown token without id', model({ unk_token: 'nope' }), /unk_token "nope" has no id/],
    [
      'no "q", "Z" and byte 0x80',
      without(['q', 'Z', 'Ģ']),
      /model.vocab lacks 3 of the bytes .* "Z" for 0x5A.* no unk/,
    ],
    [
      'no line ends among the bytes of words',
      { ...words(split('a'), byteLevel), ...without(['Ċ']) },
      /lacks 1 of .* "Ċ" for 0x0A/,
    ],
    ['no bytes to fall back on', pieces([]), /lacks \d+ of the bytes .* "<0x0A>" for 0x0A/],
    ['one of them too few', pieces(hexTokens.filter(token => token !== '<0xE2>')), /lacks 1 of .*"<0xE2>"/],
    ['a long suffix', model({ end_of_word_suffix: 'x'.repeat(1e4) }), /end_of_word_suffix/],
  ])('refuses %s', (_, changes, message) => {
    expect(() => checkTokenizer({ ...base, ...changes }, {})).toThrow(message)
  })

  test.each<[string, object]>([
    ['normalizer', normalizer(...many(replace('aa')))],
    ['normalizer', normalizer(...many(replace('a', { Regex: '' })))],
    ['normalizer', normalizer(...many({ type: 'Prepend', prepend: 'a' }))],
    ['pre_tokenizer', words(...many(byteLevel))],
    ['pre_tokenizer', words(...many(split('((.))', { behavior: 'Removed' })))],
    ['post_processor', processor(...many({ type: 'TemplateProcessing', single: [sequence, sequence] }))],
    ['decoder', { decoder: { type: 'Sequence', decoders: many(replace('aa')) } }],
  ])('refuses a %s that grows', (part, changes) => {
    const run = () => checkTokenizer({ ...base, ...changes }, {})
    expect(run).toThrow(new RegExp(`the steps of ${part} can make a text \\d+ times as long`))
  })

  test('refuses special tokens of tokenizer_config.json that are no texts', () => {
    expect(() => checkTokenizer(base, { bos_token: 5 })).toThrow(/bos_token of tokenizer_config.json/)
    expect(() => checkTokenizer(base, { eos_token: { content: [] } })).toThrow(/eos_token/)
    expect(() => checkTokenizer(base, { additional_special_tokens: 'x' })).toThrow(/additional_special_tokens/)
  })
})

describe('loadTokenizer', () => {
  /** The watchdog, without the patience. */
  const soon: typeof within = (_, work, tooLate) => within(0.5, work, tooLate)
  const load = (changes: object) =>
    loadTokenizer({ name: 'm', tokenizer: { ...base, ...changes }, tokenizerConfig: {}, within: soon })

  test.each<[string, object]>([
    ['a word', words(split('^(([a-zA-Z ])+.)+\\u0001$'), byteLevel)],
    ['a run', words(split('(a+)+b'), byteLevel)],
    ['the normalizer', normalizer(replace('', { Regex: '(a|a)+$x' }))],
    [
      'the decoder',
      { decoder: { type: 'Sequence', decoders: [{ type: 'Fuse' }, replace('', { Regex: '(.+)+\\u0001' })] } },
    ],
  ])('ends a pattern that backtracks in %s', (_, changes) => {
    expect(() => load(changes)).toThrow(UnsupportedModelError)
    expect(() => load(changes)).toThrow(/^m: its tokenizer\.json cannot be used \(no end after \d+ seconds\)/)
  })

  test('ends one that backtracks only in the text', () => {
    const tokenizer = load(words(split('(q+)+z'), byteLevel))
    expect(tokenizer.encode('quick').length).toBeGreaterThan(0)
    expect(() => tokenizer.encode('q'.repeat(64))).toThrow(UnsupportedModelError)
  })

  test('tells what the library cannot do', () => {
    expect(() => load({ normalizer: { type: 'Nope' } })).toThrow(/cannot be used \(Unknown Normalizer type: Nope\)/)
    const template = { type: 'TemplateProcessing', single: [{ SpecialToken: { id: '<nope>' } }, sequence] }
    expect(() => load({ post_processor: template })).toThrow(/post_processor adds a token that has no id/)
  })

  test('comes before calibration that needs no tokenizer', async () => {
    const checkpoint = { name: 'm', tokenizer: { ...base, model: {} }, tokenizerConfig: {} }
    const options = { windows: 1, seqLen: 2, heldOut: 0, seed: 0 }
    const run = calibration(undefined as never, { checkpoint } as never, {}, options)
    await expect(run.next()).rejects.toThrow(/^m: its tokenizer\.json cannot be used/)
  })
})
