// Runs a GGUF file in llama.cpp, in a process that `runtime.node.ts` starts.
// usage: node llama-cpp-child.js URL_OF_NODE_LLAMA_CPP MODEL.gguf   reads a JSON request on stdin, answers a JSON line
import { text } from 'node:stream/consumers'
import type { SpeedAnswer, SpeedRequest } from './llama-cpp.node.ts'
import type { RuntimeAnswer, RuntimeRequest } from './runtime.node.ts'

/** What we use of node-llama-cpp, which is no dependency. */
interface NodeLlamaCpp {
  getLlama(options: object): Promise<{ loadModel(options: object): Promise<LlamaModel> }>
}
interface LlamaModel {
  tokenize(text: string, specialTokens: boolean): number[]
  createContext(options: object): Promise<{ getSequence(): Sequence }>
}
interface Sequence {
  controlledEvaluate(input: unknown[]): Promise<({ next: { logits?: Map<number, number> } } | undefined)[]>
  evaluate(tokens: readonly number[], options: object): AsyncGenerator<number>
  clearHistory(): Promise<void>
}

const [library, modelPath] = process.argv.slice(2)
const request = JSON.parse(await text(process.stdin)) as RuntimeRequest | SpeedRequest
const { threads } = request
const { getLlama } = (await import(library)) as NodeLlamaCpp
const maxThreads = threads ?? 0 // 0: a thread for each physical core
const llama = await getLlama({ build: 'never', gpu: false, maxThreads, logLevel: 'error' })
const model = await llama.loadModel({ modelPath })
const answer = 'after' in request ? await time(request) : await run(request)
process.stdout.write(`\n${JSON.stringify(answer)}\n`, () => process.exit(0))

/** As users run it on a CPU: caches and kernels are llama.cpp's own choice. */
async function time({ ids, after }: SpeedRequest): Promise<SpeedAnswer> {
  const contextSize = ids.length + after + 8
  const sequence = (await model.createContext({ contextSize, batchSize: ids.length, threads })).getSequence()
  const turn = async () => {
    await sequence.clearHistory()
    const started = performance.now()
    const tokens = sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })
    await tokens.next()
    const prefilled = performance.now()
    for (let i = 0; i < after; i++) await tokens.next()
    const ended = performance.now()
    await tokens.return(undefined)
    return { prefill: (prefilled - started) / 1000, decode: (ended - prefilled) / 1000 }
  }
  await turn()
  return turn()
}

/** The cache is float32, so only the products with weights can differ from our logits. */
async function run({ ids, greedy, texts }: RuntimeRequest): Promise<RuntimeAnswer> {
  const context = await model.createContext({
    contextSize: ids.length + greedy + 8,
    batchSize: ids.length,
    threads,
    flashAttention: false,
    experimentalKvCacheKeyType: 'F32',
    experimentalKvCacheValueType: 'F32',
  })
  const sequence = context.getSequence()
  /** Logits after each token. */
  const evaluate = async (tokens: readonly number[]): Promise<Map<number, number>[]> => {
    const outputs = await sequence.controlledEvaluate(tokens.map(id => [id, { generateNext: { logits: true } }]))
    return outputs.map(output => output!.next.logits!)
  }
  const rows = await evaluate(ids)
  const vocabulary = rows[0].size
  const logits = new Float32Array(rows.length * vocabulary)
  for (const [position, row] of rows.entries())
    for (const [id, logit] of row) logits[position * vocabulary + id] = logit
  const written: number[] = []
  for (let row = rows.at(-1)!; written.length < greedy; [row] = await evaluate([written.at(-1)!]))
    written.push(row.keys().next().value!) // in order of the logits
  return {
    logits: Buffer.from(logits.buffer).toString('base64'),
    vocabulary,
    greedy: written,
    tokens: texts.map(one => model.tokenize(one, true)),
  }
}
