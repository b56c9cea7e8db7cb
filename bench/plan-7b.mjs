// What pruning a whole LLaMA-7B would take: `fasp prune --dry-run` on a folder with the real shapes, whose weights are a hole in a file,
// so that 13 GB take no disk. usage: node bench/plan-7b.mjs [OPTIONS OF fasp prune…]   (after npm run build; a file system with holes)
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const d = 4096
const f = 11008
const vocabulary = 32000
const layers = 32
const config = {
  ...{ architectures: ['LlamaForCausalLM'], model_type: 'llama', torch_dtype: 'bfloat16', tie_word_embeddings: false },
  ...{
    hidden_size: d,
    intermediate_size: f,
    num_hidden_layers: layers,
    num_attention_heads: 32,
    vocab_size: vocabulary,
  },
}
const shapes = { 'model.embed_tokens': [vocabulary, d], 'model.norm': [d], lm_head: [vocabulary, d] }
for (let i = 0; i < layers; i++) {
  const at = `model.layers.${i}`
  for (const name of ['input_layernorm', 'post_attention_layernorm']) shapes[`${at}.${name}`] = [d]
  for (const name of ['q', 'k', 'v', 'o']) shapes[`${at}.self_attn.${name}_proj`] = [d, d]
  for (const name of ['gate', 'up']) shapes[`${at}.mlp.${name}_proj`] = [f, d]
  shapes[`${at}.mlp.down_proj`] = [d, f]
}
let end = 0
const header = {}
for (const [name, shape] of Object.entries(shapes)) {
  const bytes = 2 * shape.reduce((n, size) => n * size, 1)
  header[`${name}.weight`] = { dtype: 'BF16', shape, data_offsets: [end, end + bytes] }
  end += bytes
}
const json = Buffer.from(JSON.stringify(header))
const length = Buffer.alloc(8)
length.writeBigUInt64LE(BigInt(json.length))

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'fasp-plan-'))
try {
  const weights = join(folder, 'model.safetensors')
  writeFileSync(weights, Buffer.concat([length, json]))
  truncateSync(weights, 8 + json.length + end)
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
  cpSync(join(root, 'assets/tiny-llama/tokenizer.json'), join(folder, 'tokenizer.json')) // any: no text is read
  const text = join(root, 'README.md') // only named: a dry run reads no text
  const paper = ['-s', '0.3', '--method', 'paper', '--windows', '128', '--seq-len', '2048', '--calibration', text]
  const options = process.argv.length > 2 ? process.argv.slice(2) : paper
  execFileSync('node', [join(root, 'dist/cli.js'), 'prune', folder, ...options, '--dry-run'], { stdio: 'inherit' })
} finally {
  rmSync(folder, { recursive: true })
}
