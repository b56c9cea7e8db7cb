// Prunes models with the built library and writes, for each, the folder and what we compute from it: CASE.json as
// check_transformers.py reads it. usage: node export.mjs OUT   (OUT/models holds what make_models.py made)
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describeModel, generate, loadTokenizer, logits, openCheckpoint, openEngine, prune } from '../../dist/node.js'

const [out] = process.argv.slice(2)
const shared = process.env.FASP_SHARED ?? new URL('../../../shared', import.meta.url).pathname
const TEXTS = ['It was a dark and stormy night.', '  two  spaces\n\nnew lines', 'naïve café — £5, 12345', '']
const GREEDY_TOKENS = 32
const SMALL_VOCABULARY = 4096
const made = join(out, 'models')
const settings = { sparsity: 0.3, samples: 8, seqLen: 128 }
const novels = [join(shared, 'data/calibration/novels.txt')]

/** [source, name, options] */
const cases = readdirSync(made).map(name => [join(made, name), name, { multiple: 32 }])
for (const tiny of ['tiny-llama', 'tiny-opt']) {
  const source = join(shared, 'models', tiny)
  cases.push([source, `${tiny}-stock`, {}], [source, `${tiny}-paper`, { preset: 'paper' }])
  cases.push([source, `${tiny}-both`, { scope: 'ffn+vo', vo: 'per-head', center: tiny === 'tiny-opt' }])
}
const smollm2 = execFileSync('bash', [join(shared, 'scripts/fetch-smollm2.sh')], { encoding: 'utf8' }).trim()
cases.push([smollm2, 'smollm2-stock', {}], [smollm2, 'smollm2-paper', { preset: 'paper' }])

const engine = openEngine()
for (const [source, name, options] of cases) {
  const output = join(out, name)
  const calibration = existsSync(novels[0]) ? novels : undefined
  const events = prune(source, { ...settings, ...options, output, calibration })
  while (!(await events.next()).done);
  const checkpoint = await openCheckpoint(output)
  const model = describeModel(checkpoint)
  const tokenizer = loadTokenizer(checkpoint)
  const ids = [...tokenizer.encode(`${TEXTS.join(' ')} and then the old man spoke again of the sea.`)]
  const prompt = ids.slice(0, 8)
  const generated = []
  for await (const id of generate(model, engine, prompt, { maxTokens: GREEDY_TOKENS })) generated.push(id)
  const { vocabularySize } = model.architecture
  const all = await logits(model, engine, ids)
  const rows = ids.map((_, i) => [...all.subarray(i * vocabularySize, (i + 1) * vocabularySize)])
  const compared = vocabularySize <= SMALL_VOCABULARY ? rows : rows.at(-1) // a large vocabulary makes a large file
  const texts = TEXTS.map(text => ({ text, ids: [...tokenizer.encode(text)] }))
  writeFileSync(
    join(out, `${name}.json`),
    JSON.stringify({ model: name, ids, logits: compared, texts, greedy: { prompt, generated } }),
  )
  await checkpoint.close()
}
await engine.close()
