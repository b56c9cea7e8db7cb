// A vocabulary cut to what texts use: ids of texts of kept tokens map one to one, logits are the same; other texts are spelled in more tokens.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type Checkpoint,
  cutVocabulary,
  exportModel,
  type Listener,
  loadTokenizer,
  logits,
  type Model,
  type ProgressEvent,
  planPrune,
  type VocabularyOptions,
} from '../src/node.ts'
import { QUICK, refused, run, workplaces } from './fasp.ts'
import { NIGHTLY } from './nightly.ts'
import { engineAndFolder, withModel } from './opened.ts'
import { describeShared, sharedPath } from './shared.ts'
import { TINY_MODELS, TINY_NAMES, type TinyModel, tinyOf2Layers } from './tiny.ts'

const { engine, folder } = engineAndFolder()
const MODEL = tinyOf2Layers()
/** Random texts for each tokenizer. */
const TEXTS = NIGHTLY ? 200 : 60

const STORY =
  'Once upon a time, a little girl named Lily went to the park. She saw 12 birds and a big dog! "Hello," said the dog.\n' +
  "They didn't play all day; it was café time. 日本 🚀\n\nThe end."
const words = STORY.split(/(?=\s)/)
const named = (text: string, name = 'story') => ({ name, text: async () => text })
const keep = [named(STORY)]

/** Texts of the words of the story, in any order: to a byte-level tokenizer all of kept tokens. */
const shuffled = fc.array(fc.constantFrom(...words), { minLength: 1, maxLength: 24 }).map(parts => parts.join(''))

const vocabOf = ({ tokenizer: { model, added_tokens: added } }: Checkpoint): Map<string, number> => {
  const { vocab } = model as { vocab: Record<string, number> | [string, number][] }
  const pieces = Array.isArray(vocab)
    ? vocab.map(([token], id): [string, number] => [token, id])
    : Object.entries(vocab)
  return new Map([...pieces, ...(added as { content: string; id: number }[]).map(t => [t.content, t.id] as const)])
}

/** Old ids by new ones. */
function oldIds(dense: Model, cut: Model): number[] {
  const before = vocabOf(dense.checkpoint)
  const after = [...vocabOf(cut.checkpoint)].sort((a, b) => a[1] - b[1])
  expect(after.map(([, id]) => id)).toEqual([...after.keys()])
  const old = after.map(([token]) => before.get(token)!)
  expect(old).toEqual([...old].sort((a, b) => a - b))
  return old
}

/** What holds for every tokenizer: kept tokens give the same ids, and all texts come back. */
function checkTokenizers(dense: Model, cut: Model, texts: fc.Arbitrary<string>, story = STORY) {
  const [before, after] = [loadTokenizer(dense.checkpoint), loadTokenizer(cut.checkpoint)]
  const old = oldIds(dense, cut)
  expect([...after.encode(story)].map(id => old[id])).toEqual([...before.encode(story)])
  let kept = 0
  fc.assert(
    fc.property(texts, text => {
      const [ids, renumbered] = [before.encode(text), after.encode(text)]
      expect(after.decode(renumbered)).toBe(before.decode(ids))
      if (!ids.every(id => old.includes(id))) return
      kept++
      expect([...renumbered].map(id => old[id])).toEqual([...ids])
    }),
    { numRuns: TEXTS, seed: 1 },
  )
  expect(kept).toBeGreaterThan(TEXTS / 10)
}

/** Of the logits of tokens that both have, on a text of these. */
async function largestDifference(dense: Model, cut: Model, text: string): Promise<number> {
  const old = oldIds(dense, cut)
  const after = loadTokenizer(cut.checkpoint).encode(text)
  const before = after.map(id => old[id])
  const [full, few] = [await logits(dense, engine, before), await logits(cut, engine, after)]
  const [rows, columns] = [dense.architecture.vocabularySize, cut.architecture.vocabularySize]
  expect(columns).toBe(old.length)
  return few.reduce((most, value, i) => {
    const same = full[Math.floor(i / columns) * rows + old[i % columns]]
    return Math.max(most, Math.abs(value - same))
  }, 0)
}

const cutOf = (model: Model, options: Partial<VocabularyOptions> & Listener = {}) =>
  cutVocabulary(model, { keep, ...options })
const withCut = <T>(name: TinyModel, use: (dense: Model, cut: Model) => Promise<T>) =>
  withModel(TINY_MODELS[name], async model => use(model, await cutOf(model)))

describe.each(TINY_NAMES)('%s', name => {
  test('texts of kept tokens have the same ids, renumbered, and the same logits', () =>
    withCut(name, async (dense, cut) => {
      checkTokenizers(dense, cut, shuffled)
      expect(await largestDifference(dense, cut, STORY)).toBeLessThan(1e-5)
    }))

  test('all texts come back, in more tokens where theirs are gone', () =>
    withCut(name, async (dense, cut) => {
      checkTokenizers(dense, cut, fc.oneof(shuffled, fc.string({ unit: 'binary' }), fc.string()))
      const { tokens, parameters } = cut.checkpoint.vocabulary!
      expect(parameters).toBe((tokens.before - tokens.after) * dense.architecture.embeddingSize)
      expect(tokens.after).toBeLessThan(tokens.before)
    }))
})

/** The model with another tokenizer, and as many rows: tokenizing reads no weights. */
function withTokenizer({ checkpoint, architecture }: Model, tokenizer: Checkpoint['tokenizer']): Model {
  const vocabularySize = vocabOf({ ...checkpoint, tokenizer }).size
  const sideFiles = checkpoint.sideFiles.filter(({ name }) => name !== 'generation_config.json')
  return { checkpoint: { ...checkpoint, tokenizer, sideFiles }, architecture: { ...architecture, vocabularySize } }
}

/** A Unigram model of random pieces of the story. */
function unigram(): Checkpoint['tokenizer'] {
  const spaced = STORY.replaceAll(' ', '\u2581')
  const pieces = new Set(spaced) // each character, as SentencePiece has them
  for (let i = 0; i < spaced.length; i++)
    for (const length of [1 + ((i * 7) % 5), 2 + ((i * 3) % 3)]) pieces.add([...spaced].slice(i, i + length).join(''))
  const scored = [...pieces].map((one, i) => [one, -2 - ((i * 37) % 100) / 7])
  return {
    ...{ version: '1.0', truncation: null, padding: null, post_processor: null },
    added_tokens: [{ id: 0, content: '<unk>', special: true }],
    normalizer: { type: 'Replace', pattern: { String: ' ' }, content: '\u2581' },
    pre_tokenizer: null,
    decoder: {
      type: 'Sequence',
      decoders: [{ type: 'Replace', pattern: { String: '\u2581' }, content: ' ' }, { type: 'Fuse' }],
    },
    model: {
      type: 'Unigram',
      unk_id: 0,
      vocab: [['<unk>', 0], ...scored],
    },
  }
}

test('Unigram: the best path is the best among the pieces that stay', () =>
  withModel(TINY_MODELS['tiny-llama'], async model => {
    const dense = withTokenizer(model, unigram())
    const cut = await cutOf(dense, { keep: [named(words.slice(0, 12).join(''))] })
    const few = fc
      .array(fc.constantFrom(...words.slice(0, 12)), { minLength: 1, maxLength: 9 })
      .map(all => all.join(''))
    checkTokenizers(dense, cut, few, words.slice(0, 12).join(''))
    expect(cut.checkpoint.vocabulary!.tokens.after).toBeLessThan(dense.architecture.vocabularySize)
  }))

test('words that are tokens whatever merges say', () =>
  withModel(TINY_MODELS['tiny-llama'], async model => {
    const { tokenizer } = model.checkpoint
    const dense = withTokenizer(model, { ...tokenizer, model: { ...(tokenizer.model as object), ignore_merges: true } })
    checkTokenizers(dense, await cutOf(dense), shuffled)
  }))

if (NIGHTLY)
  describeShared('SmolLM2-135M-Instruct', () => {
    test('of a GGUF file, on prose: ids of kept tokens and logits are the same', async () => {
      const path = execFileSync('bash', [sharedPath('scripts/fetch-smollm2.sh')], { encoding: 'utf8' }).trim()
      const prose = readFileSync(sharedPath('data/prose/austen/emma.txt'), 'utf8').slice(0, 200_000)
      await withModel(path, async dense => {
        const cut = await cutOf(dense, { keep: [named(prose), ...keep] })
        const sentences = fc.array(fc.constantFrom(...prose.split(/(?=\s)/)), { minLength: 1, maxLength: 64 })
        checkTokenizers(
          dense,
          cut,
          fc.oneof(
            sentences.map(all => all.join('')),
            fc.string({ unit: 'binary' }),
          ),
        )
        expect(cut.checkpoint.vocabulary!.tokens.after).toBeLessThan(8000)
        expect(await largestDifference(dense, cut, prose.slice(5000, 5400))).toBeLessThan(1e-4)
      })
    })
  })

describeShared('SentencePiece BPE', () => {
  test('of LLaMA 2', () =>
    withModel(TINY_MODELS['tiny-llama'], async model => {
      const json = JSON.parse(readFileSync(sharedPath('tokenizers/llama_hf/tokenizer.json'), 'utf8'))
      const dense = withTokenizer(model, json)
      const cut = await cutOf(dense)
      checkTokenizers(dense, cut, shuffled)
      expect(cut.checkpoint.vocabulary!.tokens.after).toBeLessThan(1000)
    }))
})

test('of more tokens than are allowed the most frequent stay, and it is said what that costs', () =>
  withModel(TINY_MODELS['tiny-llama'], async dense => {
    const messages: string[] = []
    const told = (event: ProgressEvent) => event.type === 'notice' && messages.push(event.message)
    const all = await cutOf(dense, { onEvent: told })
    expect(messages).toEqual([])
    const size = all.architecture.vocabularySize - 40
    const cut = await cutOf(dense, { size, text: [named(STORY, 'again'), named('zebra quartz')], onEvent: told })
    expect(cut.architecture.vocabularySize).toBeLessThanOrEqual(size)
    const { tokens, texts } = cut.checkpoint.vocabulary!
    expect(tokens).toEqual({ before: 1024, after: cut.architecture.vocabularySize })
    expect(texts.map(({ name }) => name)).toEqual(['story', 'again'])
    const [{ tokensPerWord: of }] = texts
    expect(of.after).toBeGreaterThan(of.before)
    const count = loadTokenizer(dense.checkpoint).encode(STORY, 'story', { around: false }).length
    expect(of.before).toBe(count / STORY.match(/\S+/g)!.length)
    expect(messages[0]).toMatch(/^story: \d+\.\d % more tokens with a vocabulary of/)
    checkTokenizers(dense, cut, fc.constantFrom('the', ' a', 'Once'), 'the')
    await expect(cutOf(dense, { size: 300 })).rejects.toThrow(
      /a vocabulary of 300 tokens is too small: .* take \d+\. Ask for more/,
    )
  }))

test('what cannot be cut is refused', () =>
  withModel(TINY_MODELS['tiny-llama'], async dense => {
    const { tokenizer } = dense.checkpoint
    const model = tokenizer.model as object
    const refuses = (changed: object, says: RegExp) =>
      expect(cutOf(withTokenizer(dense, { ...tokenizer, ...changed }))).rejects.toThrow(says)
    await refuses({ model: { ...model, type: 'WordPiece' } }, /is of type "WordPiece", so its vocabulary cannot be cut/)
    await refuses({ model: { ...model, end_of_word_suffix: '</w>' } }, /marks beginnings or ends of words/)
    await expect(cutOf(dense, { keep: [named(' \n', 'blank')] })).rejects.toThrow(/blank: no text in it/)
    await expect(cutOf(dense, { size: 0 })).rejects.toThrow(/the size of the vocabulary is 0/)
  }))

test('ids in configs, special tokens and templates are renumbered', () =>
  withModel(TINY_MODELS['tiny-opt'], async ({ checkpoint, architecture }) => {
    const moved = { eos_token_id: [2, 900], pad_token_id: -1, image_token_index: 5000 }
    const config = { ...checkpoint.config, ...moved }
    const tokenizerConfig = {
      ...checkpoint.tokenizerConfig,
      added_tokens_decoder: { 2: { content: '</s>' }, 5000: {} },
    }
    const dense = { checkpoint: { ...checkpoint, config, tokenizerConfig }, architecture }
    const { checkpoint: cut, architecture: a } = await cutOf(dense)
    const kept = oldIds(dense, { checkpoint: cut, architecture: a })
    const [end, other] = [kept.indexOf(2), kept.indexOf(900)]
    expect([end < 2, other > 0]).toEqual([true, true])
    const ids = { bos_token_id: end, eos_token_id: [end, other], vocab_size: a.vocabularySize }
    expect(cut.config).toMatchObject({ ...moved, ...ids })
    expect(cut.tokenizerConfig.added_tokens_decoder).toEqual({ [end]: { content: '</s>' } })
    const file = (name: string) => cut.sideFiles.find(one => one.name === name)
    const generation = JSON.parse(new TextDecoder().decode(file('generation_config.json')!.bytes))
    expect(generation).toMatchObject({ bos_token_id: end, eos_token_id: end, pad_token_id: kept.indexOf(1) })
    expect(cut.tokenizer.post_processor).toMatchObject({ special_tokens: { '</s>': { ids: [end] } } })
    expect([file('vocab.json'), file('merges.txt')]).toEqual([undefined, undefined])
  }))

test.each(['huggingface', 'gguf', 'onnx'] as const)('exports as %s, and reads back', async to => {
  await withModel(MODEL, async model => {
    const cut = await cutOf(model)
    const output = join(folder, to)
    await exportModel(cut, { output, to: [{ to }], engine })
    if (to === 'onnx') return // read back by ONNX Runtime
    const path = to === 'gguf' ? join(output, 'model.gguf') : output
    await withModel(path, async (written, { tokenizer }) => {
      expect(oldIds(cut, written)).toEqual([...Array(cut.architecture.vocabularySize).keys()])
      expect(tokenizer.model).toMatchObject(cut.checkpoint.tokenizer.model as object)
      const again = await cutOf(written, { keep: [named(words.slice(0, 9).join(''))] })
      await exportModel(again, { output: `${output}.gguf`, engine }) // from GGUF, too
      await withModel(`${output}.gguf`, async ({ checkpoint }) =>
        expect(vocabOf(checkpoint)).toEqual(vocabOf(again.checkpoint)),
      )
    })
  })
})

test('ready-made windows, whose ids are of the whole vocabulary, are refused beside a smaller one', async () => {
  const windows = { seqLen: 4, windows: [Int32Array.of(1, 2, 3, 4)], texts: [] }
  const asked = { sparsity: 0.2, calibration: windows, vocabulary: { keep } }
  await expect(planPrune(MODEL, asked)).rejects.toThrow(/ids of the whole vocabulary. With a smaller one give texts/)
})

describe('fasp', () => {
  const workplace = workplaces()
  const prune = ['prune', MODEL, '-s', '0.2', '--method', 'plain', ...QUICK, '--vocabulary', 'text.txt']

  test('prune --vocabulary: plan, result and card count the rows that go, and what texts become', async () => {
    const at = await workplace({ 'other.txt': 'Zebras, quartz and 3.14159 jazz! '.repeat(99) })
    const plan = JSON.parse((await run(at, ...prune, '--dry-run', '--json')).stdout)
    const { stdout, stderr } = await run(at, ...prune, '-o', 'small', '--text', 'other.txt', '--report', 'report.json')
    const { vocabulary, sizes } = JSON.parse(readFileSync(join(at, 'small/fasp.json'), 'utf8'))
    const { before, after } = vocabulary.tokens
    expect(vocabulary.texts.map(({ name }: { name: string }) => name)).toEqual(['text.txt', 'other.txt'])
    expect(plan.vocabulary).toEqual({ ...vocabulary, texts: vocabulary.texts.slice(0, 1) })
    expect(plan.sizes).toEqual(sizes)
    await withModel(MODEL, async ({ architecture: a }) => expect(before).toBe(a.vocabularySize))
    await withModel(join(at, 'small'), async ({ architecture: a }) => expect(after).toBe(a.vocabularySize))
    expect(sizes.parameters.before - sizes.parameters.effective).toBeGreaterThan(vocabulary.parameters)
    expect(stdout).toContain(`vocabulary of ${before} → ${after}`)
    expect(stdout).toMatch(/tokens a word, text\.txt +\d\.\d{3} +\d\.\d{3} +\+0\.0 %\ntokens a word, other\.txt/)
    expect(stdout).toContain('fasp eval small --text other.txt')
    expect(stderr).toMatch(/other\.txt: \d+\.\d % more tokens with a vocabulary of/)
    expect(readFileSync(join(at, 'small/README.md'), 'utf8')).toContain(`\n- Vocabulary: ${after} of ${before} tokens`)
    expect((await run(at, 'report', 'report.json')).stdout).toContain('parameters')
    // Beside the untouched model, in what both vocabularies have.
    const evaluated = await run(at, 'eval', MODEL, '--text', 'other.txt', '--seq-len', '32', '--json')
    const { bitsPerByte } = JSON.parse(evaluated.stdout).texts[0]
    expect(stdout.replaceAll('\n', ' ')).toContain(` bits per byte on other.txt (${bitsPerByte.toFixed(3)} → `)
    expect(readFileSync(join(at, 'small/README.md'), 'utf8')).toMatch(
      new RegExp(`^\\| bits per byte on other\\.txt, .* \\| ${bitsPerByte.toFixed(2)} \\|`, 'm'),
    )
  })

  test('export --vocabulary', async () => {
    const at = await workplace()
    const size = ['--vocabulary', 'text.txt', '--vocabulary-size', '512']
    const { stdout } = await run(at, 'export', MODEL, '-o', 'small.gguf', ...size)
    expect(stdout).toMatch(/vocabulary +1024 +\d+ +−[\d.]+ k parameters/)
    await withModel(join(at, 'small.gguf'), async ({ architecture: a }) =>
      expect(a.vocabularySize).toBeLessThanOrEqual(512),
    )
  })

  test('what makes no sense is refused', async () => {
    const at = await workplace()
    const says = (args: string[], parts: string[], code = 2) =>
      refused(at, [...prune, '-o', 'x', ...args], { code, says: parts })
    await says(['--vocabulary-size', '9'], ['a vocabulary of 9 tokens is too small', 'Ask for more'])
    await says(['--vocabulary', 'no.txt'], ['no.txt'], 1)
    const alone = ['export', MODEL, '-o', 'x.gguf', '--vocabulary-size', '600']
    await refused(at, alone, { code: 2, says: ['Say which with --vocabulary <file>'] })
  })
})
