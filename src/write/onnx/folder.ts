// The small files beside the ONNX files: the stock model's config.json (transformers.js knows no other; the graph has
// the widths), tokenizer, generation config, licence, model card. Source: transformers.js `src/configs.js`.
import { baseName, bytes } from '../../base/display.ts'
import { VERSION } from '../../base/version.ts'
import { jsonFile, type SideFile } from '../../checkpoint/checkpoint.ts'
import { type Architecture, attentionHalves, layerWidths } from '../../model/architecture.ts'
import { stockConfig } from '../../model/compact.ts'
import type { Model } from '../../model/model.ts'
import { loadTokenizer } from '../../text/tokenizer.ts'
import { olderLayerTypes } from '../huggingface/folder-files.ts'
import { cachedValues } from './cached-attention.ts'
import { ONNX_FORMATS, type OnnxDtype } from './dtypes.ts'

export interface OnnxFileResult {
  readonly dtype: OnnxDtype
  readonly file: string
  /** With its external data. */
  readonly bytes: number
  /** Files of external data. */
  readonly external: number
  /** Bytes of keys and values for each token of each sequence. */
  readonly cacheBytesPerToken: number
  /** Of its next-token probabilities from ours, over the same weights: mean KL in nats (`verifyOnnx`). */
  readonly divergence: number
}

export function onnxFolderFiles(model: Model, files: readonly OnnxFileResult[]): SideFile[] {
  const { checkpoint } = model
  const config = {
    ...stockConfig(model.architecture, checkpoint.config),
    ...olderLayerTypes(model.architecture),
    'transformers.js_config': runtimeConfig(files),
  }
  const card = { name: 'README.md', bytes: new TextEncoder().encode(onnxCard(model, files)) }
  const name = 'tokenizer_config.json' // transformers.js loads no tokenizer without it
  const side = checkpoint.sideFiles.filter(file => file.name !== name)
  return [jsonFile('config.json', config), ...side, jsonFile(name, tokenizerConfig(model)), card]
}

/** Pipelines of transformers.js add what the tokenizer adds around a text only where this field says so. */
function tokenizerConfig({ checkpoint }: Model): Record<string, unknown> {
  const adds = loadTokenizer(checkpoint).encode('').length > 0
  return { ...checkpoint.tokenizerConfig, ...(adds && { add_bos_token: true }) }
}

/** Defaults of transformers.js: fp32, in browsers without a GPU q8. Where one of the two is missing, the first file. */
function runtimeConfig(files: readonly OnnxFileResult[]): Record<string, unknown> {
  const has = (dtype: OnnxDtype) => files.some(file => file.dtype === dtype)
  const external = files.flatMap(({ file, external }) => (external > 0 ? [[baseName(file), external]] : []))
  return {
    ...(has('fp32') && has('q8') ? {} : { dtype: files[0].dtype }),
    ...(external.length > 0 ? { use_external_data_format: Object.fromEntries(external) } : {}),
  }
}

/** Bytes of keys and values for each token of each sequence. */
export function cacheBytesPerToken(a: Architecture, dtype: OnnxDtype): number {
  const size = ONNX_FORMATS[dtype].float === 'float16' ? 2 : 4
  const channels = attentionHalves(a).map(half => half.kvHeads * (half.headSize + cachedValues(half)))
  return size * channels.reduce((sum, n) => sum + n, 0)
}

function onnxCard({ checkpoint, architecture: a }: Model, files: readonly OnnxFileResult[]): string {
  const { hubId, license } = checkpoint.card ?? {}
  const base = hubId ?? baseName(checkpoint.name)
  const layers = layerWidths(a)
  const neurons = range(layers.map(({ ffn }) => ffn))
  const values = range(layers.flatMap(layer => layer.values))
  const rows = files.map(
    ({ dtype, file, bytes: size, cacheBytesPerToken }) =>
      `| \`${dtype}\` | \`${file}\` | ${bytes(size)} | ${bytes(cacheBytesPerToken)} |\n`,
  )
  return `---
library_name: transformers.js
pipeline_tag: text-generation
${hubId ? `base_model: ${hubId}\n` : ''}${license ? `license: ${JSON.stringify(license)}\n` : ''}tags:
- fasp
- onnx
---

# ${baseName(base)}, ONNX

Made from \`${base}\` by fasp ${VERSION}: the decoder as one graph with a KV cache, for
[transformers.js](https://huggingface.co/docs/transformers.js) 4.2 or later. \
The widths of each layer are in the graph: ${neurons} FFN neurons,
${values} value channels in a KV head (keys have ${range(attentionHalves(a).map(({ headSize }) => headSize))}).

| dtype | file | size | KV cache for a token |
|---|---|---:|---:|
${rows.join('')}
\`\`\`js
import { pipeline } from '@huggingface/transformers'

const generator = await pipeline('text-generation', '.', { dtype: '${files[0].dtype}' }) \
// this folder, or its name on the Hub
const [{ generated_text }] = await generator('Once upon a time', { max_new_tokens: 32 })
\`\`\`
`
}

function range(numbers: readonly number[]): string {
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)]
  return low === high ? String(low) : `${low} to ${high}`
}
