// README.md of an output folder: the model card that the Hub shows. Source: hub-docs, model-cards.

import { baseName, bytes, count, cut, widthsText } from '../display.ts'
import { type Layout, specOf } from '../method.ts'
import { layersOf } from '../model/architecture.ts'
import type { Model } from '../model/model.ts'
import type { Recipe } from '../result.ts'

const LAYOUT_TEXT: Readonly<Record<Layout, string>> = {
  stock: 'narrow FFNs or fewer layers, loads like any',
  padded: 'all shapes as before, zeros where something was removed; loads like any',
  compact: 'only what is left is stored; needs the Python code beside it; made from a',
}

/** How the compact layout loads; the others load like any model. */
const COMPACT_USE = `
## Use

The architecture is not part of transformers (4.45 or later); its code is in \`modeling_fasp.py\` and has to be trusted.

\`\`\`python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # where this file is, or its name on the Hub
model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
inputs = tokenizer("Once upon a time", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=32)[0]))
\`\`\`
`

function sourceOf(method: string): string {
  const [name, arxiv] = specOf(method).source
  return arxiv ? `${name} ([arXiv ${arxiv}](https://arxiv.org/abs/${arxiv}))` : name
}

export function modelCard({ checkpoint, architecture }: Model, recipe: Recipe): string {
  const { options, sizes, widths, calibration, removedLayers } = recipe
  const { decoderLinears: linears, parameters, weightBytes } = sizes
  const zeros = parameters.effective < parameters.stored
  const hubId = checkpoint.card?.hubId
  const base = hubId ?? baseName(checkpoint.name)
  const texts = calibration.texts
    .map(t => `${baseName(t.name)} (${t.used} windows of ${calibration.seqLen} tokens)`)
    .join(', ')
  return `---
library_name: transformers
pipeline_tag: text-generation
${hubId ? `base_model: ${hubId}\n` : ''}${checkpoint.card?.license ? `license: ${JSON.stringify(checkpoint.card.license)}\n` : ''}tags:
- fasp
- pruned
- structured-pruning
---

# ${baseName(base)}, pruned

Made from \`${base}\` by [fasp](https://www.npmjs.com/package/fasp) ${recipe.fasp}: structured pruning after ${sourceOf(options.method)}
(\`--method ${options.method}\`), without gradients and without retraining.

| | before | after | cut |
|---|---:|---:|---:|
| weights of the decoder's linear layers | ${count(linears.before)} | ${count(linears.after)} | ${cut(linears)} |
| parameters of the whole model, zeros not counted | ${count(parameters.before)} | ${count(parameters.effective)} | ${cut({ ...parameters, after: parameters.effective })} |
| parameters of the whole model, as stored | ${count(parameters.before)} | ${count(parameters.stored)} | ${cut({ ...parameters, after: parameters.stored })} |
| weights on disk | ${bytes(weightBytes.before)} | ${bytes(weightBytes.after)} | ${cut(weightBytes)} |

- Layout \`${options.layout}\`: ${LAYOUT_TEXT[options.layout]} ${architecture.modelType} model.
- ${widthsText(widths)}${zeros ? ' Removed ones are zeros.' : ''}
${removedLayers ? `- Layers removed, in this order: ${removedLayers.map(({ layer }) => layer).join(', ')} of 0 to ${layersOf(architecture) - 1}.\n` : ''}\
- Calibrated on ${texts}.
- \`fasp.json\` has all options, the kept indices and the error of every layer.
${options.layout === 'compact' ? COMPACT_USE : ''}`
}
