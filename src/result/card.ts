// README.md of an output folder: the model card that the Hub shows. Written last, with what was measured. Source: hub-docs, model-cards.
import { baseName, bytes, count, cut, perplexityChange, widthsText } from '../base/display.ts'
import { VERSION } from '../base/version.ts'
import { type SideFile, textFile } from '../checkpoint/checkpoint.ts'
import { prunedText } from '../checkpoint/pruning-record.ts'
import { type Layout, specOf } from '../method/method.ts'
import { layersOf } from '../model/architecture.ts'
import type { Model } from '../model/model.ts'
import { GGUF_FILE } from '../output/sink.ts'
import { comparedBy, type Perplexities } from './measured.ts'
import type { HealRecord, Recipe } from './result.ts'

const LAYOUT_TEXT: Readonly<Record<Layout, string>> = {
  stock: 'narrow FFNs or fewer layers, loads like any',
  padded: 'all shapes as before, zeros where something was removed; loads like any',
  compact: 'only what is left is stored; needs the Python code beside it; made from a',
}

/** What is stored as zeros. */
function zerosText({ layout, scope }: Recipe['options']): string {
  if (layout !== 'compact') return ' Removed ones are zeros.'
  return scope === 'ffn+heads' ? ' Queries and keys of removed heads are zeros.' : ''
}

/** How the layouts load in transformers; the compact one has code of its own there, and its tokenizer none. */
function transformersUse(layout: Layout): string {
  const [trusted, untrusted] =
    layout === 'compact' ? [', trust_remote_code=True', ', trust_remote_code=False'] : ['', '']
  const needs =
    layout === 'compact'
      ? 'The architecture is not part of transformers (4.45 or later); its code is in `modeling_fasp.py` and has to be trusted.\n\n'
      : ''
  return `${needs}\`\`\`python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # where this file is, or its name on the Hub
model = AutoModelForCausalLM.from_pretrained(folder${trusted})
tokenizer = AutoTokenizer.from_pretrained(folder${untrusted})
inputs = tokenizer("Once upon a time", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=32)[0]))
\`\`\``
}

/** How an export loads. */
const EXPORT_USE: Readonly<Record<string, (folder: string) => string>> = {
  gguf: folder => `In llama.cpp:\n\n\`\`\`sh\nllama-cli -m ${folder}${GGUF_FILE} -p "Once upon a time" -n 32\n\`\`\``,
  onnx: folder => `In transformers.js: see [${folder}README.md](${folder}README.md).`,
  padded: folder => `\`${folder}\` has the shapes of the model before pruning, with zeros.`,
}

function sourceOf(method: string): string {
  const [name, arxiv] = specOf(method).source
  return arxiv ? `${name} ([arXiv ${arxiv}](https://arxiv.org/abs/${arxiv}))` : name
}

/** What the card has beside what `fasp.json` has. */
export interface Measured {
  readonly perplexities?: Perplexities
  readonly exports?: readonly { readonly to: string; readonly folder: string }[]
}

/** The perplexity of the pruned model beside that of the dense one: on windows that were held out, and on texts. */
function lossRows({ calibration, vocabulary, healed }: Recipe, { dense = [], pruned = [] }: Perplexities): string[] {
  const row = (text: string, before: number, after: number) =>
    `| ${text} | ${before.toFixed(2)} | ${after.toFixed(2)} | ${perplexityChange(Math.log(after / before))} |\n`
  const { of, figure } = comparedBy(vocabulary)
  return [
    ...calibration.texts.flatMap(({ name, loss }) => {
      if (!loss || healed) return [] // it is of the model before that
      const { windows, dense, pruned } = loss.heldOut
      const text = `perplexity on ${baseName(name)}, held out, ${windows} × ${calibration.seqLen} tokens${vocabulary ? ' of this vocabulary' : ''}`
      return [row(text, Math.exp(dense), Math.exp(pruned))]
    }),
    ...pruned.map((after, i) =>
      row(
        `${of} on ${baseName(after.file)}, ${after.windows} × ${after.seqLen} tokens`,
        dense[i][figure] ?? Number.NaN,
        after[figure] ?? Number.NaN,
      ),
    ),
  ]
}

/** Distance to the dense model before and after healing. */
const healedTable = ({ kl: { before, after }, calibration: { texts, seqLen } }: HealRecord): string => `
| mean KL to the dense model in nats a token, on held-out windows of ${seqLen} tokens | before healing | after |
|---|---:|---:|
| ${texts.map(({ name, heldOut }) => `${baseName(name)}, ${heldOut}`).join('; ')} | ${before.toFixed(4)} | ${after.toFixed(4)} |
`

const healedWords = ({ tokens, dense }: HealRecord): string =>
  `healed on ${tokens.toLocaleString('en')} tokens by the probabilities of \`${dense}\`, without labels`

/** Of a healed model that was not pruned by us. */
export function healedCard({ checkpoint }: Model, healed: HealRecord): SideFile {
  const { card, name } = checkpoint
  const base = card?.hubId ?? baseName(name)
  return textFile(
    'README.md',
    `${headerOf(checkpoint, ['fasp'])}
# ${baseName(base)}, healed

Made from \`${base}\` by fasp ${VERSION}: ${healedWords(healed)}.
${healedTable(healed)}
## Use

${transformersUse('stock')}
`,
  )
}

/** What the Hub reads of a card. */
const headerOf = ({ card }: Model['checkpoint'], tags: readonly string[]): string => `---
library_name: transformers
pipeline_tag: text-generation
${card?.hubId ? `base_model: ${card.hubId}\n` : ''}${card?.license ? `license: ${JSON.stringify(card.license)}\n` : ''}tags:
${tags.map(tag => `- ${tag}\n`).join('')}---
`

export function modelCard({ checkpoint, architecture }: Model, recipe: Recipe, measured: Measured = {}): SideFile {
  const { options, sizes, widths, calibration, removedLayers, vocabulary, healed } = recipe
  const { decoderLinears: linears, parameters, weightBytes } = sizes
  const zeros = parameters.effective < parameters.stored
  const hubId = checkpoint.card?.hubId
  const base = hubId ?? baseName(checkpoint.name)
  const texts = calibration.texts
    .map(t => `${baseName(t.name)} (${t.used} windows of ${calibration.seqLen} tokens)`)
    .join(', ')
  const losses = lossRows(recipe, measured.perplexities ?? {})
  const exports = (measured.exports ?? []).flatMap(({ to, folder }) => EXPORT_USE[to]?.(folder) ?? [])
  return textFile(
    'README.md',
    `${headerOf(checkpoint, ['fasp', 'pruned', 'structured-pruning'])}
# ${baseName(base)}, pruned${healed ? ' and healed' : ''}

Made from \`${base}\` by fasp ${recipe.fasp}: structured pruning after ${sourceOf(options.method)}
(\`-s ${options.sparsity} --method ${options.method}${vocabulary ? ' --vocabulary …' : ''}\`), ${healed ? `then ${healedWords(healed)}` : 'without gradients and without retraining'}.

| | before | after | cut |
|---|---:|---:|---:|
| weights of the decoder's linear layers | ${count(linears.before)} | ${count(linears.after)} | ${cut(linears)} |
| parameters of the whole model, zeros not counted | ${count(parameters.before)} | ${count(parameters.effective)} | ${cut({ ...parameters, after: parameters.effective })} |
| parameters of the whole model, as stored | ${count(parameters.before)} | ${count(parameters.stored)} | ${cut({ ...parameters, after: parameters.stored })} |
| weights on disk | ${bytes(weightBytes.before)} | ${bytes(weightBytes.after)} | ${cut(weightBytes)} |
${
  losses.length > 0
    ? `
| | dense | ${prunedText(recipe)} | change |
|---|---:|---:|---:|
${losses.join('')}`
    : ''
}${healed ? healedTable(healed) : ''}
- Layout \`${options.layout}\`: ${LAYOUT_TEXT[options.layout]} ${architecture.modelType} model.
- ${widthsText(widths)}${zeros ? zerosText(options) : ''}
${removedLayers ? `- Layers removed, in this order: ${removedLayers.map(({ layer }) => layer).join(', ')} of 0 to ${layersOf(architecture) - 1}.\n` : ''}\
- Calibrated on ${texts}.
${vocabulary ? `- Vocabulary: ${vocabulary.tokens.after} of ${vocabulary.tokens.before} tokens; what others wrote is spelled in more, smaller ones.\n` : ''}\
- \`fasp.json\` has all options, the kept indices and the error of every layer.

## Use

${[transformersUse(options.layout), ...exports].join('\n\n')}
`,
  )
}
