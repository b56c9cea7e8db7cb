// Runs a folder of ONNX files in transformers.js, in a process that `runtime.node.ts` starts. `generate` writes the
// text, so its bookkeeping of caches, masks and positions is tested, too.
// usage: node transformers-js-child.js URL_OF_TRANSFORMERS_JS FOLDER DTYPE   request and answer as llama-cpp-child.js
import { text } from 'node:stream/consumers'
import type { RuntimeAnswer, RuntimeRequest } from './runtime.node.ts'

/** What we use of transformers.js, which is no dependency. */
interface TransformersJs {
  env: { allowRemoteModels: boolean }
  AutoTokenizer: { from_pretrained(folder: string): Promise<(text: string) => Inputs> }
  AutoModelForCausalLM: { from_pretrained(folder: string, options: object): Promise<Decoder> }
  Tensor: new (type: string, data: BigInt64Array, shape: readonly number[]) => Tensor
}
interface Tensor {
  readonly data: Float32Array<ArrayBuffer> | BigInt64Array
  readonly dims: readonly number[]
}
interface Inputs {
  readonly input_ids: Tensor
  readonly attention_mask: Tensor
}
interface Decoder {
  (inputs: Inputs): Promise<{ readonly logits: Tensor & { readonly data: Float32Array<ArrayBuffer> } }>
  generate(options: Inputs & Record<string, unknown>): Promise<Tensor>
}

const [library, folder, dtype] = process.argv.slice(2)
const { ids, greedy, texts, threads } = JSON.parse(await text(process.stdin)) as RuntimeRequest
const module = (await import(library)) as TransformersJs & { default?: TransformersJs }
const { env, AutoTokenizer, AutoModelForCausalLM, Tensor } = module.default ?? module
env.allowRemoteModels = false // the folder must be complete in itself
const tokenizer = await AutoTokenizer.from_pretrained(folder)
const session_options = { intraOpNumThreads: threads }
const model = await AutoModelForCausalLM.from_pretrained(folder, { dtype, device: 'cpu', session_options })
const row = (numbers: readonly number[]) =>
  new Tensor('int64', BigInt64Array.from(numbers, BigInt), [1, numbers.length])
const inputs = { input_ids: row(ids), attention_mask: row(ids.map(() => 1)) }
const { logits } = await model(inputs)
const written =
  greedy > 0 ? await model.generate({ ...inputs, max_new_tokens: greedy, do_sample: false }) : inputs.input_ids
const answer: RuntimeAnswer = {
  logits: Buffer.from(logits.data.buffer, logits.data.byteOffset, logits.data.byteLength).toString('base64'),
  vocabulary: logits.dims[2],
  greedy: Array.from(written.data, Number).slice(ids.length),
  tokens: texts.map(one => Array.from(tokenizer(one).input_ids.data, Number)),
}
process.stdout.write(`\n${JSON.stringify(answer)}\n`, () => process.exit(0))
