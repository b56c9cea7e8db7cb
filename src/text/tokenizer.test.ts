import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Tokenizer } from '@huggingface/tokenizers'
import { beforeAll, describe, expect, test } from 'vitest'
import { TINY_LLAMA } from '../../test/fasp.ts'
import { NIGHTLY } from '../../test/nightly.ts'
import { describeShared, sharedPath } from '../../test/shared.ts'
import { goldenOf, TINY_MODELS } from '../../test/tiny.ts'
import { TextError, UnsupportedModelError } from '../base/errors.ts'
import { openHuggingFace } from '../checkpoint/huggingface.node.ts'
import { readText } from './text.node.ts'
import { loadTokenizer, type TextTokenizer } from './tokenizer.ts'
import { calibrationWindows, evaluationWindows } from './windows.ts'

interface Oracle {
  strings: string[]
  kinds: {
    name: string
    path: string
    changes: object
    strings: number[][]
    texts: { path: string; length: number; sha256: string }[]
  }[]
}

const parse = (path: string) => JSON.parse(readFileSync(path, 'utf8'))
const oracle: Oracle = parse(new URL('../../test/fixtures/text/ids.json', import.meta.url).pathname)
/** The tokenizer of the oracle that is in the repository; the others are in the shared folder. */
const TINY = 'models/tiny-llama/tokenizer.json'
const find = (path: string) => (path === TINY ? join(TINY_LLAMA, 'tokenizer.json') : sharedPath(path))
const load = (path: string, changes = {}) =>
  loadTokenizer({ name: path, tokenizer: { ...parse(find(path)), ...changes }, tokenizerConfig: {} })

test('a tokenizer that cannot be built names the model', () => {
  const run = () => loadTokenizer({ name: 'some/model', tokenizer: { model: {} }, tokenizerConfig: {} })
  expect(run).toThrow(UnsupportedModelError)
  expect(run).toThrow(/^some\/model: its tokenizer\.json cannot be used/)
})

describe('a word longer than any text has', () => {
  const json = parse(join(TINY_LLAMA, 'tokenizer.json'))
  const tokenizer = (changes = {}) =>
    loadTokenizer({ name: 'm', tokenizer: { ...json, ...changes }, tokenizerConfig: {} })
  const prefixed = { pre_tokenizer: { type: 'ByteLevel', add_prefix_space: true, use_regex: true } }
  const blanks = (character: string) => character.repeat(2e5)

  test.each(['a', ' ', '\n', '=', '7'])('is refused with its place: %j', character => {
    for (const changes of [{}, prefixed]) {
      const run = () => tokenizer(changes).encode(`one two\n${blanks(character)}`, 'some.txt')
      expect(run).toThrow(TextError)
      expect(run).toThrow(/^some\.txt: from about character [4-9] on, 20000\d characters \(".*"\) are one word/)
    }
  })

  test('where it can be cut is none', () => {
    const whole = tokenizer({
      pre_tokenizer: null,
      model: { ...json.model, vocab: { a: 0, b: 1, ab: 2 }, merges: ['a b'] },
    })
    expect(whole.encode('ab'.repeat(1e5))).toHaveLength(1e5 + 1) // with BOS
    expect(tokenizer().encode(`${'a'.repeat(1e5)} `.repeat(3)).length).toBeGreaterThan(1e4)
  })
})

describe('ids of the Rust tokenizers', () => {
  describe.each(oracle.kinds)('$name', ({ path, changes, strings, texts }) => {
    const describeStrings = path === TINY ? describe : describeShared
    describeStrings('on strings', () => {
      test('that pre-tokenizers trip over', () => {
        const tokenizer = load(path, changes)
        for (const [index, text] of oracle.strings.entries())
          expect([...tokenizer.encode(text)], JSON.stringify(text)).toEqual(strings[index])
      })
    })

    if (NIGHTLY || Object.keys(changes).length === 0)
      // a changed tokenizer differs on strings, too
      describeShared('on texts', () => {
        test('that are whole', async () => {
          const tokenizer = load(path, changes)
          for (const { path, length, sha256 } of texts) {
            const ids = tokenizer.encode(await readText(sharedPath(path)))
            expect(ids).toHaveLength(length)
            expect(createHash('sha256').update(ids).digest('hex')).toBe(sha256)
          }
        })
      })
  })
})

describeShared('cutting a text', () => {
  test.each(['models/tiny-llama', 'tokenizers/opt125m_fast', 'tokenizers/llama_hf'])(
    'changes no id of %s',
    async folder => {
      const text = (await readText(sharedPath('data/calibration/wikitext2-valid.txt'))).slice(0, 50_000)
      const whole = new Tokenizer(parse(find(`${folder}/tokenizer.json`)), {}).encode(text).ids
      expect([...load(`${folder}/tokenizer.json`).encode(text)]).toEqual(whole)
    },
  )
})

describe('the tiny models', () => {
  const plain = (windows: readonly Int32Array[]) => windows.map(window => [...window])

  describe.each([
    { name: 'tiny-llama', bos: '<s>' },
    { name: 'tiny-opt', bos: '</s>' },
  ] as const)('$name', ({ name, bos }) => {
    let tokenizer: TextTokenizer
    let golden: {
      tokenizer: { text: string; ids: number[] }[]
      calibration_windows: number[][]
      evaluation_windows: number[][]
    }
    const tokenize = async (path: string) => ({ name: path, ids: tokenizer.encode(await readText(sharedPath(path))) })

    beforeAll(async () => {
      const checkpoint = await openHuggingFace(TINY_MODELS[name])
      tokenizer = loadTokenizer(checkpoint)
      await checkpoint.close()
      golden = goldenOf(name)
    })

    test('encodes as AutoTokenizer, the empty text included', () => {
      for (const { text, ids } of golden.tokenizer) expect([...tokenizer.encode(text)]).toEqual(ids)
    })

    test('decodes what it encoded, special tokens on demand', () => {
      const text = '  two  spaces\n\nnew lines , naïve café — £5 .'
      const ids = tokenizer.encode(text)
      expect(tokenizer.decode(ids)).toBe(text)
      expect(tokenizer.decode(ids, { skipSpecial: false })).toBe(bos + text)
      expect(tokenizer.decode([])).toBe('')
      expect(tokenizer.vocabularySize).toBe(1024)
    })

    describeShared('gives the windows of the reference', () => {
      test('for calibration', async () => {
        const { windows, texts } = calibrationWindows([await tokenize('data/calibration/novels.txt')], 256, 16, 1024)
        expect(plain(windows)).toEqual(golden.calibration_windows)
        expect(texts[0].used).toBe(16)
      })

      test('for evaluation', async () => {
        const { windows } = evaluationWindows(await tokenize('data/eval/prose-heldout.txt'), 256, 1024, 32)
        expect(plain(windows)).toEqual(golden.evaluation_windows)
      })
    })
  })
})
