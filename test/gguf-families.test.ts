// A GGUF is pruned as the folder that it was written of, in every family that llama.cpp has a graph for: the same is kept, and what is written,
// as a folder and as a GGUF again, computes the same. That the GGUF holds the same model: src/write/gguf/file.test.ts.
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { exportModel, logits, type PruneResult, prune } from '../src/node.ts'
import { TINY_LLAMA } from './fasp.ts'
import { GEMMA3, GRANITE, GRANITE4, NEOX, OLMO3, PHI3, QWEN3, SMALL_EXAONE4 } from './gguf-families.ts'
import { LLAMA3_ROPE, randomLlama, writeModel, YARN } from './made-models.ts'
import { someOf } from './nightly.ts'
import { engineAndFolder, withModel } from './opened.ts'
import { SCOPES } from './support.ts'
import { asWindows } from './tiny.ts'

const { engine, folder: root } = engineAndFolder()

const FAMILIES: Record<string, Readonly<Record<string, unknown>>> = {
  llama: { rope_parameters: LLAMA3_ROPE, tie_word_embeddings: false },
  qwen2: { model_type: 'qwen2' },
  qwen3: QWEN3,
  smollm3: { ...QWEN3, model_type: 'smollm3' },
  gemma3: GEMMA3,
  olmo2: { model_type: 'olmo2', tie_word_embeddings: false },
  olmo3: OLMO3,
  exaone4: SMALL_EXAONE4,
  phi3: PHI3,
  granite: GRANITE,
  granite4: GRANITE4,
  ministral3: { ...YARN, model_type: 'ministral3', head_dim: 20 },
  glm4: { model_type: 'glm4', head_dim: 20, num_attention_heads: 4 },
  gpt_neox: NEOX,
}
/** Of the largest logit: weights of a GGUF are the folder's, but for a rounding in Gemma's norms, and solves carry that on. */
const TOLERANCE = 1e-4

const ids = (window: number) => Array.from({ length: 48 }, (_, i) => (i * i * 37 + window * 101) % 1000)
const calibration = asWindows([1, 2, 3, 4].map(ids))
const prompt = Int32Array.from(ids(5))

/** Every other family in every run, each scope with some of these. */
const SOME = someOf(Object.entries(FAMILIES), (_, i) => i % 2 === 0)

describe.each(SOME)('%s', (name, config) => {
  const folder = join(root, name)
  const file = join(root, `${name}.gguf`)
  beforeAll(async () => {
    writeModel(folder, randomLlama({ intermediate_size: 128, ...config }, 11), TINY_LLAMA)
    await exportModel(folder, { output: file, dtype: 'F32', engine })
  })

  const wholeNorms = name.startsWith('olmo') // over all heads: none of them can go
  const index = Object.keys(FAMILIES).indexOf(name) / 2
  const some = someOf(SCOPES, (_, i) => i === index % SCOPES.length)
  const outputs = someOf(['pruned-again', 'pruned.gguf'], (_, i) => i === index % 2)
  test.each(some.filter(({ scope }) => !(wholeNorms && scope === 'ffn+heads')))(
    '$scope',
    async ({ method, layouts }) => {
      const cut = async (source: string, output: string) => {
        const common = { sparsity: 0.3, calibration, dtype: 'F32', overwrite: true, engine } as const
        const path = join(root, output)
        const result = await prune(source, { ...common, method: `${method}:layout=${layouts[0]}`, output: path })
        return { result, logits: await withModel(path, model => logits(model, engine, prompt)) }
      }
      const kept = ({ layers, removedLayers }: PruneResult) => ({
        removed: removedLayers?.map(({ layer }) => layer),
        kept: layers.map(({ ffn, attention }) => [ffn, attention].map(half => half?.kept)),
      })
      const ours = await cut(folder, 'pruned')
      expect(JSON.stringify(kept(ours.result))).toMatch(/\[\d/) // neurons, channels or layers
      const largest = ours.logits.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
      for (const output of outputs) {
        const theirs = await cut(file, output)
        expect(kept(theirs.result)).toEqual(kept(ours.result))
        const worst = ours.logits.reduce((most, value, i) => Math.max(most, Math.abs(value - theirs.logits[i])), 0)
        expect(worst / largest).toBeLessThan(TOLERANCE)
      }
    },
  )
})
