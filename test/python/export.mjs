// Prunes models with the built library and writes, for each, the folder and what we compute from it: CASE.json as
// check_transformers.py reads it. usage: node export.mjs OUT   (OUT/models holds what make_models.py made)
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { generate, loadTokenizer, logits, openEngine, openModel, perplexity, prune } from '../../dist/node.js'

const [out] = process.argv.slice(2)
const shared = process.env.FASP_SHARED ?? new URL('../../../shared', import.meta.url).pathname
const TEXTS = ['It was a dark and stormy night.', '  two  spaces\n\nnew lines', 'naïve café — £5, 12345', '']
const GREEDY_TOKENS = 32
const WINDOWS = { count: 2, length: 96 }
const settings = { sparsity: 0.3, windows: 8, seqLen: 128 }
const novels = [join(shared, 'data/calibration/novels.txt')]
const calibration = existsSync(novels[0]) ? novels : undefined
const vocabulary = { keep: [{ name: 'text', text: async () => TEXTS.join(' ') }] }
const engine = openEngine()

/** Prunes `source` in all of the layouts by the same method. @param twin whether a compact model is compared with the padded one */
async function pruned(source, name, layouts, method, options, twin = true) {
  for (const layout of layouts) {
    const output = `${name}-${layout}`
    const asked = { ...settings, ...options, method: `${method}:layout=${layout}` }
    await prune(source, { ...asked, output: join(out, output), calibration })
    await writeCase(output, twin && layout === 'compact' ? `${name}-padded` : undefined)
  }
}

async function writeCase(folder, padded) {
  const model = await openModel(join(out, folder))
  const tokenizer = loadTokenizer(model.checkpoint)
  const text = `${TEXTS.join(' ')} and then the old man spoke again of the sea.`
  const ids = [...tokenizer.encode(text)]
  const { promptIds, ids: generated } = await generate(model, TEXTS[0], { engine, maxTokens: GREEDY_TOKENS })
  const long = text.repeat(8)
  const measured = await perplexity(
    model,
    { name: 'text', text: async () => long },
    { engine, seqLen: WINDOWS.length, windows: WINDOWS.count },
  )
  const longIds = [...tokenizer.encode(long)]
  const windows = Array.from({ length: WINDOWS.count }, (_, w) =>
    longIds.slice(w * WINDOWS.length, (w + 1) * WINDOWS.length),
  )
  const name = folder.replaceAll('/', '-')
  writeFileSync(join(out, `${name}.f32`), await logits(model, engine, ids)) // [ids, vocabulary]
  writeFileSync(
    join(out, `${name}.json`),
    JSON.stringify({
      model: folder,
      ids,
      logits: `${name}.f32`,
      texts: TEXTS.map(text => ({ text, ids: [...tokenizer.encode(text)] })),
      greedy: { prompt: promptIds, generated },
      perplexity: { windows, value: measured.perplexity },
      padded,
    }),
  )
  await model.close()
}

const PER_HEAD = 'plain:scope=ffn+per-head'
/** Nightly all of them; in every run some: `i` is the number of the model, so that each way of cutting stays with some families. */
const nightly = Boolean(process.env.FASP_NIGHTLY)
const every = (n, i, at) => nightly || i % n === at

for (const [i, name] of readdirSync(join(out, 'models/stock')).entries()) {
  const source = join(out, 'models/stock', name)
  if (every(3, i, 0)) await pruned(source, `${name}-ffn`, ['stock'], 'plain:multiple=32')
  if (every(3, i, 1)) await pruned(source, `${name}-ragged`, ['padded', 'compact'], 'plain:scope=ffn+ragged:multiple=8')
  // The same code loads both selections of values: some families stand for all.
  if (/^(llama|opt|qwen2|gemma3)/.test(name) && every(3, i, 2))
    await pruned(source, `${name}-per-head`, ['padded', 'compact'], `${PER_HEAD}:multiple=1`, { sparsity: 0.5 })
  // Biases that these families have no fields for, in layout compact alone. So much takes all heads of a layer.
  if (nightly ? ['qwen3', 'gemma3', 'phi3-window'].includes(name) : name === 'gemma3')
    await pruned(source, `${name}-flap`, ['compact'], 'flap', { sparsity: 0.6 }, false)
  if (!nightly || !['qwen2', 'gemma3'].includes(name)) continue
  await pruned(source, `${name}-best`, ['padded', 'compact'], 'best:multiple=8') // values in a basis of their own
  await pruned(source, `${name}-wanda-sp`, ['padded'], 'wanda-sp') // fewer heads
  await pruned(source, `${name}-shortgpt`, ['stock'], 'shortgpt') // fewer layers
}
for (const [i, name] of readdirSync(join(out, 'models/mixtures')).entries()) {
  const source = join(out, 'models/mixtures', name)
  if (every(2, i, 0)) await pruned(source, `${name}-experts`, ['stock'], 'stock:scope=experts')
  if (every(2, i, 1)) await pruned(source, `${name}-ffn`, ['stock'], 'plain:multiple=32')
}
// The padded twins are what the compact ones are compared with; nightly they are cases of their own.
for (const folder of readdirSync(join(out, 'models/cut')).filter(name => nightly || name.endsWith('-compact')))
  await writeCase(
    `models/cut/${folder}`,
    folder.endsWith('-compact') ? `models/cut/${folder.replace(/compact$/, 'padded')}` : undefined,
  )
for (const name of ['tiny-llama', 'tiny-opt']) {
  const source = join(shared, 'models', name)
  const center = name === 'tiny-opt' ? ':center' : ''
  await pruned(source, `${name}-ffn`, nightly ? ['stock', 'padded'] : ['stock'], 'plain')
  await pruned(source, `${name}-best`, ['padded', 'compact'], 'best:multiple=8')
  if (nightly) {
    await pruned(source, `${name}-paper`, ['padded', 'compact'], 'paper')
    await pruned(source, `${name}-per-head`, ['stock', 'padded', 'compact'], `${PER_HEAD}:multiple=8${center}`, {
      dtype: 'F32',
    })
  }
  await pruned(source, `${name}-flap`, nightly ? ['padded', 'compact'] : ['compact'], 'flap', {}, nightly) // biases that a LLaMA had not
  await pruned(source, `${name}-shortgpt`, ['stock'], 'shortgpt') // fewer layers
  await pruned(source, `${name}-vocabulary`, ['stock'], 'stock', { vocabulary })
}
const smollm2 = execFileSync('bash', [join(shared, 'scripts/fetch-smollm2.sh')], { encoding: 'utf8' }).trim()
if (nightly) {
  await pruned(smollm2, 'smollm2-ffn', ['stock'], 'plain')
  await pruned(smollm2, 'smollm2-vocabulary', ['stock'], 'plain', { vocabulary })
  await pruned(smollm2, 'smollm2-per-head', ['padded', 'compact'], `${PER_HEAD}:multiple=32`)
} else await pruned(smollm2, 'smollm2-per-head', ['compact'], `${PER_HEAD}:multiple=32`, {}, false)
await engine.close()
