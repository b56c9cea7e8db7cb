// Tokenizers through the metadata of a GGUF file and back. llama.cpp's own ids for what we write: test/llama-cpp.
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { nightly } from '../../../test/nightly.ts'
import { describeShared, sharedPath } from '../../../test/shared.ts'
import { memorySource } from '../../base/bytes.ts'
import { FormatError, UnsupportedModelError } from '../../base/errors.ts'
import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import { jsonFile } from '../../checkpoint/checkpoint.ts'
import { GgufMetadata } from '../../checkpoint/gguf-metadata.ts'
import { PRE_TOKENIZERS } from '../../checkpoint/gguf-pretokenizers.ts'
import { ggufTokenizer } from '../../checkpoint/gguf-tokenizer.ts'
import { openGguf } from '../../formats/gguf.ts'
import type { GgufValue } from '../../formats/gguf-contents.ts'
import { layoutGguf } from '../../formats/gguf-layout.ts'
import { openCheckpoint } from '../../node.ts'
import { loadTokenizer, PROBE } from '../../text/tokenizer.ts'
import { tokenizerPairs } from './tokenizer.ts'

type Parts = Partial<Checkpoint>
const checkpoint = (parts: Parts) =>
  ({ name: 'model', config: {}, tokenizerConfig: {}, sideFiles: [], ...parts }) as unknown as Checkpoint

/** The metadata of a file with what is written of the tokenizer, without `tokenizer.` and `tokenizer.ggml.`. */
async function written(parts: Parts, vocabulary: number) {
  const { header } = layoutGguf(tokenizerPairs(checkpoint(parts), vocabulary), [])
  const { metadata } = await openGguf(memorySource(header))
  const short = [...metadata].map(([key, value]) => [key.replace(/^tokenizer\.(ggml\.)?/, ''), value])
  return { metadata, short: Object.fromEntries(short) }
}

const readBack = (metadata: ReadonlyMap<string, GgufValue>) => {
  const { tokenizer, config } = ggufTokenizer(new GgufMetadata('model.gguf', metadata))
  return loadTokenizer({ name: 'model.gguf', tokenizer, tokenizerConfig: config })
}

/** A byte-level vocabulary of all bytes and the merges given, as tokenizer.json. */
function byteLevel(changes: Record<string, unknown> = {}, merges: [string, string][] = []) {
  const printable = [...'!~', ...'¡¬', ...'®ÿ'].map(c => c.codePointAt(0)!)
  const bytes: string[] = []
  let beyond = 256
  for (let byte = 0; byte < 256; byte++) {
    const shown = [0, 2, 4].some(i => byte >= printable[i] && byte <= printable[i + 1])
    bytes.push(String.fromCodePoint(shown ? byte : beyond++))
  }
  const vocabulary = ['<s>', '</s>', ...bytes, ...merges.map(merge => merge.join(''))]
  const special = (id: number) => ({ id, content: vocabulary[id], special: true, normalized: false })
  const vocab = Object.fromEntries(vocabulary.map((token, id) => [token, id]))
  return {
    added_tokens: [special(0), special(1)],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: 'BPE', vocab, merges, ignore_merges: false },
    ...changes,
  }
}
const tokenizerConfig = { bos_token: '<s>', eos_token: { content: '</s>' } }
/** Merges of digits, spaces, cases and marks, so that every rule gives ids of its own. */
const MERGES: [string, string][] = [...'0123456789'].flatMap(digit => [
  [digit, digit] as [string, string],
  ['Ġ', digit] as [string, string],
])
for (const pair of [
  '33 3',
  'Ġ Ġ',
  "' t",
  "' L",
  "' m",
  'Ċ Ċ',
  '1 9',
  '8 7',
  '19 87',
  '- B',
  '. .',
  '.. .',
  'l C',
  's W',
  'P S',
])
  MERGES.push(pair.split(' ') as [string, string])

describe('byte-level BPE', () => {
  test('as the model that ships with the package has it', async () => {
    const model = await openCheckpoint(new URL('../../../assets/tiny-llama', import.meta.url).pathname)
    const { metadata, short } = await written(model, 1024)
    await model.close()
    expect(short).toMatchObject({ model: 'gpt2', pre: 'gpt-2', add_bos_token: true, bos_token_id: 1, eos_token_id: 2 })
    expect([...readBack(metadata).encode(PROBE)]).toEqual([...loadTokenizer(model).encode(PROBE)])
  })

  test.each([...PRE_TOKENIZERS.keys()].filter(name => name !== 'default'))('rule %s', async name => {
    const { normalizer, preTokenizer, ignoreMerges } = PRE_TOKENIZERS.get(name)!
    const tokenizer = byteLevel({ normalizer, pre_tokenizer: preTokenizer }, MERGES)
    tokenizer.model.ignore_merges = ignoreMerges
    const { short } = await written({ tokenizer, tokenizerConfig }, 300)
    const { addBos: _, ...found } = PRE_TOKENIZERS.get(short.pre)!
    expect(found).toEqual({ normalizer, preTokenizer, ignoreMerges })
  })

  test('a rule that is spelled otherwise is found by its ids: SmolLM', async () => {
    const words = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
    const pretokenizers = [{ type: 'Digits', individual_digits: true }, words]
    const tokenizer = byteLevel({ pre_tokenizer: { type: 'Sequence', pretokenizers } }, MERGES)
    const { short } = await written({ tokenizer, tokenizerConfig }, 300)
    expect(short.pre).toBe('smollm')
  })

  test('tokens of every type, and names for rows of the embedding that have none', async () => {
    const tokenizer = byteLevel()
    const added = (id: number, content: string, special: boolean) => ({ id, content, special, normalized: false })
    tokenizer.added_tokens.push(added(258, '<|turn|>', false), added(260, 'two▁words', false), added(261, '<x>', true))
    const { short } = await written({ tokenizer, tokenizerConfig }, 264)
    expect(short.tokens.slice(258)).toEqual(['<|turn|>', '[PAD259]', 'two words', '<x>', '[PAD262]', '[PAD263]'])
    expect(short.token_type.slice(0, 3)).toEqual([3, 3, 1])
    expect(short.token_type.slice(258)).toEqual([3, 5, 4, 3, 5, 5])
  })

  test('special ids: names first, then config and generation config; a second end is the end of a turn', async () => {
    const config = { bos_token_id: 9, eos_token_id: 7, pad_token_id: 5 }
    const sideFiles = [jsonFile('generation_config.json', { eos_token_id: [1, 6] })]
    const { short } = await written({ tokenizer: byteLevel(), tokenizerConfig, config, sideFiles }, 258)
    const { bos_token_id, eos_token_id, padding_token_id, eot_token_id } = short
    expect([bos_token_id, eos_token_id, padding_token_id, eot_token_id]).toEqual([0, 1, 5, 6])
    expect(short).not.toHaveProperty('unknown_token_id')
    expect(short.add_bos_token).toBe(false)
  })

  test.each<[string, Parts, string | undefined]>([
    ['in the config', { tokenizerConfig: { ...tokenizerConfig, chat_template: 'A' } }, 'A'],
    [
      'with names',
      {
        tokenizerConfig: {
          chat_template: [
            { name: 'tools', template: 'B' },
            { name: 'default', template: 'C' },
          ],
        },
      },
      'C',
    ],
    ['in a file', { sideFiles: [{ name: 'chat_template.jinja', bytes: new TextEncoder().encode('D') }] }, 'D'],
    ['in a JSON file', { sideFiles: [jsonFile('chat_template.json', { chat_template: 'E' })] }, 'E'],
    ['nowhere', {}, undefined],
  ])('chat template %s', async (_, parts, template) => {
    expect((await written({ tokenizer: byteLevel(), ...parts }, 258)).short.chat_template).toBe(template)
  })

  test('a chat template that is no JSON is refused', () => {
    const sideFiles = [{ name: 'chat_template.json', bytes: new TextEncoder().encode('{') }]
    expect(() => tokenizerPairs(checkpoint({ tokenizer: byteLevel(), sideFiles } as Parts), 258)).toThrow(FormatError)
  })

  nightly('a vocabulary of the size of Llama 3', async () => {
    const { model, ...rest } = byteLevel() as { model: { vocab: Record<string, number> } }
    const more = Object.fromEntries(Array.from({ length: 130_000 }, (_, i) => [`more${i}`, 300 + i]))
    const tokenizer = { ...rest, model: { ...model, vocab: { ...model.vocab, ...more } } }
    const { short } = await written({ tokenizer } as Parts, 130_300)
    expect((short.tokens as string[]).at(-1)).toBe('more129999')
  })

  test.each<[string, object, number, RegExp]>([
    ['another kind', byteLevel({ model: { type: 'Unigram', vocab: {} } }), 258, /tokenizer \("Unigram"\) is neither/],
    ['more ids than rows', byteLevel(), 257, /has the id 257, and the embedding 257 rows/],
    [
      'an unknown rule',
      byteLevel({ pre_tokenizer: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true } }),
      258,
      /pre-tokenizer is none of gpt-2, /,
    ],
  ])('%s is refused', (_, tokenizer, rows, message) => {
    const pairs = () =>
      tokenizerPairs(checkpoint({ tokenizer: tokenizer as Parts['tokenizer'], tokenizerConfig }), rows)
    expect(pairs).toThrow(UnsupportedModelError)
    expect(pairs).toThrow(message)
  })
})

describeShared('SentencePiece BPE', () => {
  test('merges as ranks: ids of sentencepiece', async () => {
    const fixture = new URL('../../../test/fixtures/gguf/sentencepiece.json', import.meta.url)
    const { cases } = JSON.parse(readFileSync(fixture, 'utf8'))
    const lines = readFileSync(sharedPath('models/stories260K/tok512.vocab'), 'utf8').trimEnd().split('\n')
    const rows = lines.map(line => line.split('\t'))
    const type = (token: string, id: number) => (id === 0 ? 2 : id < 3 ? 3 : token.startsWith('<0x') ? 6 : 1)
    const given = new Map<string, GgufValue>([
      ['tokenizer.ggml.model', 'llama'],
      ['tokenizer.ggml.tokens', rows.map(([token]) => token)],
      ['tokenizer.ggml.scores', rows.map(([, score]) => Number(score))],
      ['tokenizer.ggml.token_type', rows.map(([token], id) => type(token, id))],
    ])
    const { tokenizer, config } = ggufTokenizer(new GgufMetadata('tok512', given))
    const { metadata, short } = await written({ tokenizer, tokenizerConfig: config }, 512)
    expect(short).toMatchObject({ model: 'llama', pre: 'default', add_space_prefix: true, add_bos_token: true })
    expect(short.token_type).toEqual(given.get('tokenizer.ggml.token_type'))
    const back = readBack(metadata)
    expect(cases.length).toBeGreaterThan(20)
    for (const [text, ids] of cases) expect([text, [...back.encode(text)]]).toEqual([text, ids])
  })

  test('the tokenizer.json of Llama 2', async () => {
    const tokenizer = JSON.parse(readFileSync(sharedPath('tokenizers/llama_hf/tokenizer.json'), 'utf8'))
    const { metadata, short } = await written({ tokenizer, config: { bos_token_id: 1, eos_token_id: 2 } }, 32003)
    expect(short.token_type[3]).toBe(6)
    const text = readFileSync(sharedPath('data/eval/wikitext2-test.txt'), 'utf8').slice(0, 20_000)
    expect([...readBack(metadata).encode(text)]).toEqual([...loadTokenizer(checkpoint({ tokenizer })).encode(text)])
  })
})
