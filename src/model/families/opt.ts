// OPT: LayerNorm, learned positions offset by 2, plain FFN, biases everywhere; opt-350m normalises after the sum and has
// narrower embeddings. Source: transformers `models/opt/modeling_opt.py`.
import { ACTIVATIONS } from '../activations.ts'
import type { Architecture } from '../architecture.ts'
import type { Config } from '../config.ts'
import type { Linear, Norm } from '../half-block.ts'

export function opt(config: Config): Architecture {
  const d = config.size('hidden_size')
  const { heads, headSize } = config.heads(d)
  const values = new Array<number>(heads).fill(headSize)
  const preNorm = config.flag('do_layer_norm_before', true)
  const embeddingSize = config.size('word_embed_proj_dim', d)
  const bias = config.flag('enable_bias', true)
  const projected = embeddingSize !== d
  const ffnWidth = config.size('ffn_dim')
  const activation = config.oneOf('activation_function', 'relu', ACTIVATIONS)
  const affine = config.flag('layer_norm_elementwise_affine', true)
  const norm = (name: string): Norm => ({ name, type: 'layer', size: d, epsilon: 1e-5, affine })
  return {
    modelType: 'opt',
    classes: 'OPT',
    hiddenSize: d,
    halves: config.layers(layer => {
      const at = (name: string) => `model.decoder.layers.${layer}.${name}`
      const linear = (name: string, out: number, input: number): Linear => ({ name: at(name), out, in: input, bias })
      const normAt = (name: string) => ({ norms: { [preNorm ? 'before' : 'afterSum']: norm(at(name)) } })
      return [
        {
          kind: 'attention',
          layer,
          heads,
          kvHeads: heads,
          headSize,
          values,
          scale: 1 / Math.sqrt(headSize),
          ...normAt('self_attn_layer_norm'),
          inputs: ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'].map(name => linear(name, d, d)),
          output: linear('self_attn.out_proj', d, d),
          coupled: [2],
        },
        {
          kind: 'ffn',
          layer,
          activation,
          ...normAt('final_layer_norm'),
          inputs: [linear('fc1', ffnWidth, d)],
          output: linear('fc2', d, ffnWidth),
          coupled: [0],
        },
      ]
    }),
    compact: false,
    ffnWidth,
    ffnWidthKey: 'ffn_dim',
    vocabularySize: config.size('vocab_size'),
    maxPositions: config.size('max_position_embeddings', 2048),
    biasFields: { enable_bias: true },
    tied: config.flag('tie_word_embeddings', true),
    finalNorm:
      preNorm && !config.flag('_remove_final_layer_norm', false) ? norm('model.decoder.final_layer_norm') : undefined,
    names: {
      layers: 'model.decoder.layers',
      embedding: 'model.decoder.embed_tokens',
      positions: 'model.decoder.embed_positions',
      head: 'lm_head',
      projectIn: projected ? 'model.decoder.project_in' : undefined,
      projectOut: projected ? 'model.decoder.project_out' : undefined,
    },
    positionOffset: 2,
    embeddingSize,
  }
}
