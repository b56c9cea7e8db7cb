// Ids of the SentencePiece kind against sentencepiece itself; the byte-level kind against transformers is in gguf.node.test.ts.
import { readFileSync } from 'node:fs'
import { Tokenizer } from '@huggingface/tokenizers'
import { describe, expect, test } from 'vitest'
import { describeShared, sharedPath } from '../../test/shared.ts'
import { FormatError, UnsupportedModelError } from '../base/errors.ts'
import type { GgufValue } from '../formats/gguf-contents.ts'
import { GgufMetadata } from './gguf-metadata.ts'
import { ggufTokenizer } from './gguf-tokenizer.ts'

const fixture = (name: string) =>
  JSON.parse(readFileSync(new URL(`../../test/fixtures/gguf/${name}`, import.meta.url), 'utf8'))

const rebuild = (pairs: Record<string, GgufValue>) =>
  ggufTokenizer(
    new GgufMetadata(
      'm.gguf',
      new Map(
        Object.entries(pairs).map(([key, value]) => [
          `tokenizer.${key === 'chat_template' ? '' : 'ggml.'}${key}`,
          value,
        ]),
      ),
    ),
  )
function encoder(pairs: Record<string, GgufValue>) {
  const { tokenizer, config } = rebuild(pairs)
  const built = new Tokenizer(tokenizer as ConstructorParameters<typeof Tokenizer>[0], config)
  return (text: string) => built.encode(text).ids
}

/** Enough bytes for the texts below; Ġ is a space, Ċ a line feed. */
const byteLevel: Record<string, GgufValue> = {
  model: 'gpt2',
  pre: 'gpt-2',
  tokens: ['<s>', '</s>', 'a', 'b', '1', '2', 'Ġ', 'Ċ', 'ab', 'Ġa', '12', 'ĠĠ', '<think>', 'abab', '__proto__'],
  token_type: [3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4, 1, 1],
  merges: ['a b', 'Ġ a', '1 2', 'Ġ Ġ'],
  bos_token_id: 0,
  eos_token_id: 1,
}

describe('byte-level BPE', () => {
  test('merges, special and user-defined tokens', () => {
    const encode = encoder(byteLevel)
    expect(encode('ab a')).toEqual([8, 9])
    expect(encode('<s>ab<think>b</s>')).toEqual([0, 8, 12, 3, 1])
    expect(encode('')).toEqual([])
  })

  test('pre-tokenizers', () => {
    expect(encoder(byteLevel)('12  12')).toEqual([10, 6, 6, 10])
    expect(encoder({ ...byteLevel, pre: 'starcoder' })('12  12')).toEqual([4, 5, 11, 4, 5])
    expect(encoder({ ...byteLevel, pre: 'qwen2' })('12')).toEqual([4, 5])
    expect(encoder({ ...byteLevel, pre: 'default' })('1212')).toEqual([10, 4, 5])
    // A word that is in the vocabulary is taken whole, even where no merge makes it.
    expect(encoder({ ...byteLevel, pre: 'llama-bpe' })('abab')).toEqual([0, 13])
    expect(encoder(byteLevel)('abab')).toEqual([8, 8])
    expect(() => rebuild({ ...byteLevel, pre: 'viking' })).toThrow(/pre-tokenizer "viking"; default, gpt-2/)
  })

  test('the flags decide about BOS and EOS; without them Llama 3 adds a BOS and GPT-2 none', () => {
    const flags = { add_bos_token: true, add_eos_token: true }
    expect(encoder({ ...byteLevel, ...flags })('a')).toEqual([0, 2, 1])
    expect(encoder({ ...byteLevel, pre: 'llama3' })('a')).toEqual([0, 2])
    expect(encoder({ ...byteLevel, pre: 'llama3', add_bos_token: false })('a')).toEqual([2])
    const { eos_token_id: _, ...noEos } = byteLevel
    expect(() => rebuild({ ...noEos, ...flags })).toThrow(/eos_token_id is missing/)
  })

  test('tokenizer_config.json', () => {
    expect(rebuild({ ...byteLevel, chat_template: '{{ x }}', padding_token_id: 1 }).config).toEqual({
      tokenizer_class: 'PreTrainedTokenizerFast',
      bos_token: '<s>',
      eos_token: '</s>',
      pad_token: '</s>',
      add_bos_token: false,
      add_eos_token: false,
      clean_up_tokenization_spaces: false,
      chat_template: '{{ x }}',
    })
  })

  test('every token keeps its id, whatever it is called', () => {
    const { model } = rebuild(byteLevel).tokenizer as { model: { vocab: Record<string, number> } }
    const tokens = byteLevel.tokens as string[]
    expect(Object.entries(model.vocab).sort(([, a], [, b]) => a - b)).toEqual(tokens.map((token, id) => [token, id]))
  })

  test.each<[string, Record<string, GgufValue | undefined>, RegExp]>([
    ['no merges', { merges: undefined }, /"tokenizer.ggml.merges" is missing/],
    ['no tokens', { tokens: undefined }, /"tokenizer.ggml.tokens" is missing/],
    ['merges of one token', { merges: ['ab'] }, /the merge "ab"/],
    ['types of other length', { token_type: [1] }, /has 15 entries/],
    ['a BOS outside', { bos_token_id: 99 }, /is 99, with 15 tokens/],
    ['tokens that are numbers', { tokens: [1, 2] }, /an array of 2; an array of strings/],
  ])('refuses %s', (_, patch, message) => {
    const pairs = Object.entries({ ...byteLevel, ...patch }).filter(
      (pair): pair is [string, GgufValue] => pair[1] !== undefined,
    )
    const run = () => rebuild(Object.fromEntries(pairs))
    expect(run).toThrow(FormatError)
    expect(run).toThrow(message)
  })

  test('refuses other kinds of tokenizer', () => {
    expect(() => rebuild({ ...byteLevel, model: 'bert' })).toThrow(UnsupportedModelError)
    expect(() => rebuild({})).toThrow(/tokenizer "none"/)
  })
})

describe('SentencePiece BPE', () => {
  const pieces: Record<string, GgufValue> = {
    model: 'llama',
    tokens: ['<unk>', '<s>', '</s>', '<0x62>', '▁', 'a', 'c', 'd', 'ac', 'cd', '▁a'],
    scores: [0, 0, 0, 0, -9, -10, -11, -12, -1, -2, -3],
    token_type: [2, 3, 3, 6, 1, 1, 1, 1, 1, 1, 1],
  }

  test('BOS and a space in front by default, bytes for what is no piece', () => {
    expect(encoder(pieces)('a b')).toEqual([1, 10, 4, 3])
    expect(encoder({ ...pieces, add_bos_token: false })('a')).toEqual([10])
    expect(encoder({ ...pieces, add_space_prefix: false })('a')).toEqual([1, 5])
    expect(encoder(pieces)('a</s>')).toEqual([1, 10, 2])
  })

  test('the better score merges first', () => {
    const scores = [0, 0, 0, 0, -9, -10, -11, -12, -2, -1, -3]
    expect(encoder(pieces)('acd')).toEqual([1, 4, 8, 7])
    expect(encoder({ ...pieces, scores })('acd')).toEqual([1, 10, 9])
  })

  test('one score for all means that the ids are in the order of the merges', () => {
    expect(encoder({ ...pieces, scores: new Array(11).fill(-1000) })('acd')).toEqual([1, 4, 8, 7])
    expect(() => rebuild({ ...pieces, scores: [1] })).toThrow(/scores has 1 entries/)
  })

  test('refuses pieces whose splits are too many to look up', () => {
    const long = [...(pieces.tokens as string[]).slice(0, -1), 'a'.repeat(2 ** 15)]
    expect(() => rebuild({ ...pieces, tokens: long })).toThrow(/tokens that are too long for merges/)
  })

  test('decodes what it encoded', () => {
    const { tokenizer, config } = rebuild(pieces)
    const built = new Tokenizer(tokenizer as ConstructorParameters<typeof Tokenizer>[0], config)
    expect(built.decode(built.encode('ac b a').ids, { skip_special_tokens: true })).toBe('ac b a')
  })
})

describeShared('SentencePiece BPE of stories260K', () => {
  const { cases, versions } = fixture('sentencepiece.json')

  test(`gives the ids of sentencepiece ${versions.sentencepiece}`, () => {
    const lines = readFileSync(sharedPath('models/stories260K/tok512.vocab'), 'utf8').trimEnd().split('\n')
    const rows = lines.map(line => line.split('\t'))
    const type = (token: string, id: number) => (id === 0 ? 2 : id < 3 ? 3 : token.startsWith('<0x') ? 6 : 1)
    const encode = encoder({
      model: 'llama',
      tokens: rows.map(([token]) => token),
      scores: rows.map(([, score]) => Number(score)),
      token_type: rows.map(([token], id) => type(token, id)),
    })
    expect(cases.length).toBeGreaterThan(20)
    for (const [text, ids] of cases) expect([text, encode(text)]).toEqual([text, ids])
  })
})
