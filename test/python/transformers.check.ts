// What we write, in transformers itself: the newest, and the oldest that the compact layout is written for. The models are pruned first, with
// the built library, so that each is a test; check_transformers.py says what is compared. usage: npx vitest run --project transformers
import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, parse } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadTokenizer, logits, openEngine } from '../../src/node.ts'
import { TINY_LLAMA } from '../fasp.ts'
import { someOf } from '../nightly.ts'
import { perplexityOf, withModel } from '../opened.ts'
import { describeShared, sharedPath } from '../shared.ts'
import { proves } from '../support.ts'
import { environment } from './environment.ts'

/** Each model is loaded three times and compared; all of them take some minutes. */
const HANGS = 60 * 60_000

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const packages = ['requirements.txt', 'requirements-oldest.txt'].map(name => readFileSync(here(name), 'utf8'))
const newest = await environment('venv', packages[0])
const oldest = await environment('oldest', packages[1], newest) // PyTorch has some GB: it uses that of the first

const folder = mkdtempSync(join(tmpdir(), 'fasp-transformers-'))
afterAll(() => rmSync(folder, { recursive: true }))

const run = (command: string, ...args: string[]) =>
  // The code of compact models is copied into HF_MODULES_CACHE.
  promisify(execFile)(command, args, { env: { ...process.env, HF_MODULES_CACHE: join(folder, 'modules') } })

await run(newest, here('make_models.py'), join(folder, 'models'), TINY_LLAMA)
await run(process.execPath, here('export.mjs'), folder)
const cases = readdirSync(folder).filter(name => name.endsWith('.json'))
/**
 * The oldest has no Qwen3, SmolLM3, Gemma 3, OLMo 2, EXAONE 4, Ministral 3, Granite 4 and GLM-4, turns whole heads of Phi-3, and its attention lets tokens of
 * Qwen2 and Phi-3 see all before them, whatever the config says.
 */
const known = someOf(
  cases.filter(
    name => !/(qwen2|phi3)-window|phi3-long|qwen3|smollm3|gemma3|olmo\d|exaone4|ministral3|granite4|glm4/.test(name),
  ),
  (_, i) => i % 2 === 0,
)

describe.each([
  [/^transformers.*$/m.exec(packages[0])![0], newest, cases],
  [/^transformers.*$/m.exec(packages[1])![0], oldest, known],
])('%s', (_, python, cases) => {
  let problems: Readonly<Record<string, readonly string[]>>
  beforeAll(async () => {
    const { stdout } = await run(python, here('check_transformers.py'), ...cases.map(name => join(folder, name)))
    problems = JSON.parse(stdout)
  }, HANGS)
  test.each(cases.map(name => parse(name).name))('%s', name => {
    expect(problems[name]).toEqual([])
    proves('transformers', join(folder, JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')).model))
  })
})

describeShared('Gemma 3 270M, from its GGUF file', () => {
  test('has the perplexity of transformers', { timeout: HANGS }, async () => {
    const source = execFileSync('bash', [sharedPath('scripts/fetch-gemma3.sh')], { encoding: 'utf8' }).trim()
    const text = readFileSync(sharedPath('data/eval/wikitext2-test.txt'), 'utf8').slice(0, 10_000)
    await using engine = openEngine()
    await withModel(source, async (model, checkpoint) => {
      const ids = [...loadTokenizer(checkpoint).encode(text).subarray(0, 512)]
      const file = join(folder, 'ids')
      writeFileSync(file, JSON.stringify(ids))
      const { stdout } = await run(newest, here('gguf_perplexity.py'), source, file)
      const ours = perplexityOf(await logits(model, engine, ids), ids, model.architecture.vocabularySize)
      expect(ours / Number(stdout)).toBeCloseTo(1, 3)
    })
  })
})
