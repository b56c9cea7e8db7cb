// What transformers.js computes of an export, loaded as a user loads it: ids, logits, greedy text, and a batch of two.
import { AutoModelForCausalLM, AutoTokenizer, env, pipeline, Tensor } from '@huggingface/transformers'

env.allowRemoteModels = false // a folder must be complete in itself

export interface Asked {
  readonly folder: string
  readonly dtype: string
  /** Two prompts of different length. */
  readonly prompts: readonly [string, string]
  readonly tokens: number
  /** For its logits. */
  readonly text: readonly number[]
}

export interface Found {
  /** Of each prompt. */
  readonly ids: readonly (readonly number[])[]
  /** After each prompt, alone. */
  readonly written: readonly (readonly number[])[]
  /** After each prompt, both at once. */
  readonly together: readonly (readonly number[])[]
  readonly firstText: string
  /** [text, vocabulary] */
  readonly logits: Float32Array
  /** Channels of a value of the cache, by layer. */
  readonly cachedValues: readonly number[]
}

/** What we use of the model, whose own types are `any`. */
interface Decoder {
  (inputs: Record<string, Tensor>): Promise<{ readonly logits: Tensor }>
  generate(options: Record<string, unknown>): Promise<Tensor>
  dispose(): Promise<unknown>
  readonly sessions: {
    readonly model: { readonly inputMetadata: readonly { readonly name: string; readonly shape: readonly unknown[] }[] }
  }
}

export async function inTransformersJs({ folder, dtype, prompts, tokens, text }: Asked): Promise<Found> {
  const tokenizer = await AutoTokenizer.from_pretrained(folder)
  const options = { dtype, device: 'cpu' } as Parameters<typeof AutoModelForCausalLM.from_pretrained>[1]
  const model = (await AutoModelForCausalLM.from_pretrained(folder, options)) as unknown as Decoder
  try {
    const ids = prompts.map(prompt => idsOf(tokenizer, prompt))
    /** Shorter ones are filled up on the left, and only the mask says so. */
    const write = async (sequences: readonly (readonly number[])[]) => {
      const length = Math.max(...sequences.map(sequence => sequence.length))
      const fill = (sequence: readonly number[]) => new Array<number>(length - sequence.length).fill(0)
      const input_ids = int64(sequences.map(sequence => [...fill(sequence), ...sequence]))
      const attention_mask = int64(sequences.map(sequence => [...fill(sequence), ...sequence.map(() => 1)]))
      const all = await model.generate({ input_ids, attention_mask, max_new_tokens: tokens, do_sample: false })
      return (all.tolist() as bigint[][]).map(row => row.slice(length).map(Number))
    }
    const [written] = await write([ids[0]])
    const [second] = await write([ids[1]])
    const { logits } = await model({ input_ids: int64([text]), attention_mask: int64([text.map(() => 1)]) })
    return {
      ids,
      written: [written, second],
      together: await write(ids),
      firstText: tokenizer.decode(written, { skip_special_tokens: true }),
      logits: logits.data as Float32Array,
      cachedValues: model.sessions.model.inputMetadata.flatMap(({ name, shape }) =>
        /^past_key_values.*value$/.test(name) ? [Number(shape.at(-1))] : [],
      ),
    }
  } finally {
    await model.dispose()
  }
}

export async function idsInTransformersJs(folder: string, text: string): Promise<number[]> {
  return idsOf(await AutoTokenizer.from_pretrained(folder), text)
}

type Tokenizer = Awaited<ReturnType<typeof AutoTokenizer.from_pretrained>>

const idsOf = (tokenizer: Tokenizer, text: string): number[] =>
  Array.from(tokenizer(text).input_ids.data as BigInt64Array, Number)

const int64 = (rows: readonly (readonly number[])[]) =>
  new Tensor('int64', BigInt64Array.from(rows.flat(), BigInt), [rows.length, rows[0].length])

/** A prompt with what a pipeline writes after it, called as the model card says. */
export async function inPipeline(folder: string, prompt: string, tokens: number): Promise<string> {
  const generator = await pipeline('text-generation', folder, { dtype: 'fp32', device: 'cpu' })
  try {
    const [written] = await generator(prompt, { max_new_tokens: tokens, do_sample: false })
    return (written as { generated_text: string }).generated_text
  } finally {
    await generator.dispose()
  }
}
