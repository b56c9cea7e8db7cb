import { readFileSync } from 'node:fs'
import { Tokenizer } from '@huggingface/tokenizers'
import { describe, expect, test } from 'vitest'
import { describeShared, sharedPath } from '../../test/shared.ts'
import { type BpeFiles, byteLevelBpe } from './byte-level-bpe.ts'

const files: BpeFiles = {
  folder: 'opt',
  vocab: { '<s>': 0, '<pad>': 1, '</s>': 2, '<unk>': 3, '#': 4, Ġ: 5, a: 6, b: 7, '##': 8, Ġa: 9, Ġab: 10 },
  merges: '#version: 0.2\n# #\nĠ a\nĠa b\n',
  tokenizerConfig: { add_bos_token: true },
  specialTokensMap: { bos_token: { content: '</s>', normalized: true }, pad_token: '<pad>', unk_token: '<gone>' },
  addedTokens: {},
  modelType: 'opt',
}
const encode = (some: Partial<BpeFiles>, text: string) => {
  const given = { ...files, ...some }
  return new Tokenizer(byteLevelBpe(given), given.tokenizerConfig).encode(text).ids
}

test('merges in order, BOS first, special tokens whole', () => {
  expect(encode({}, '## ab')).toEqual([2, 8, 10])
  expect(encode({}, '')).toEqual([2])
  expect(encode({}, 'a</s> b<pad>')).toEqual([2, 6, 2, 5, 7, 1])
})

test('BOS as the config of the tokenizer says, for OPT also where it says nothing', () => {
  expect(encode({ tokenizerConfig: {}, specialTokensMap: {} }, 'a')).toEqual([2, 6])
  expect(encode({ tokenizerConfig: { add_bos_token: false } }, 'a')).toEqual([6])
  expect(encode({ tokenizerConfig: {}, modelType: 'gpt2' }, 'a')).toEqual([6])
  expect(encode({ tokenizerConfig: { add_bos_token: true, bos_token: '<s>' } }, 'a')).toEqual([0, 6])
})

test('special tokens of every source, only those with an id', () => {
  const { added_tokens } = byteLevelBpe({
    ...files,
    addedTokens: { '<extra>': 11 },
    tokenizerConfig: {
      additional_special_tokens: ['<s>'],
      added_tokens_decoder: { 3: { content: '<unk>', special: true } },
    },
  })
  expect(added_tokens).toMatchObject([
    { id: 0, content: '<s>', special: true },
    { id: 1, content: '<pad>', special: true, normalized: false },
    { id: 2, content: '</s>', special: true, normalized: true },
    { id: 3, content: '<unk>', special: true },
    { id: 11, content: '<extra>', special: false },
  ])
})

test('reads merges with Windows line ends', () => {
  expect(encode({ merges: '#version: 0.2\r\nĠ a\r\n' }, ' a')).toEqual([2, 9])
})

describe('refuses', () => {
  test.each<[string, Partial<BpeFiles>, string]>([
    ['an id that is no integer', { vocab: { a: 0.5 } }, 'opt/vocab.json: gives "a" an id'],
    ['one id for two tokens', { vocab: { a: 1, b: 1 } }, 'the id 1 to "a" and "b"'],
    ['a merge of three', { merges: 'a b a' }, 'opt/merges.txt: line 1 is "a b a"'],
    ['a merge into an unknown token', { merges: '#version: 0.2\na b' }, 'line 2 needs "ab"'],
    ['a BOS without id', { specialTokensMap: { bos_token: '<bos>' } }, 'start with "<bos>"'],
  ])('%s', (_, some, message) => {
    expect(() => byteLevelBpe({ ...files, ...some })).toThrow(message)
  })
})

describeShared('the tokenizer of OPT', () => {
  // Expected: AutoTokenizer of transformers 5.24.0 on the same files, add_bos_token true, the special tokens of facebook/opt-125m.
  const bos = { content: '</s>', single_word: false, lstrip: false, rstrip: false, normalized: true }
  const tokenizer = () =>
    new Tokenizer(
      byteLevelBpe({
        ...files,
        vocab: JSON.parse(readFileSync(sharedPath('tokenizers/opt/vocab.json'), 'utf8')),
        merges: readFileSync(sharedPath('tokenizers/opt/merges.txt'), 'utf8'),
        specialTokensMap: { bos_token: bos, eos_token: bos, unk_token: bos, pad_token: '<pad>' },
      }),
      {},
    )

  test('gives the ids that transformers gives', () => {
    const opt = tokenizer()
    const pairs: [string, number[]][] = [
      ['It was a dark and stormy night.', [2, 243, 21, 10, 2933, 8, 2130, 219, 363, 4]],
      ['  two  spaces\n\nnew lines', [2, 1437, 80, 1437, 5938, 50118, 50118, 4651, 2301]],
      ['naïve café — £5, 12345', [2, 2133, 48350, 26059, 93, 984, 245, 6, 17072, 1898]],
      ['', [2]],
      ["I'm you're WE'LL don't", [2, 100, 437, 47, 214, 10284, 108, 6006, 218, 75]],
      ['</s>hello<pad> world', [2, 2, 42891, 1, 232]],
      [
        '日本語 🦙 emoji\t\r\n tab',
        [2, 47954, 8210, 44636, 11582, 48537, 17772, 8103, 18164, 27, 21554, 50117, 50121, 50118, 12207],
      ],
      [' <s> <unk>', [2, 28696, 29, 15698, 28696, 6435, 15698]],
    ]
    for (const [text, ids] of pairs) expect([text, opt.encode(text).ids]).toEqual([text, ids])
  })
})
