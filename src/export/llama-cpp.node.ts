// Checks a GGUF file in llama.cpp, through node-llama-cpp where the user has installed it: no dependency of ours. Part of `--verify`.
import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { loadTokenizer } from '../calibrate/tokenizer.ts'
import type { Engine } from '../engine/engine.ts'
import { OutputError } from '../errors.ts'
import { logits } from '../evaluate/logits.ts'
import type { Model } from '../model/model.ts'
import { agreement, allowedFor } from './agreement.ts'
import type { LlamaAnswer, LlamaRequest } from './llama-cpp-child.node.ts'

const CHILD = new URL('./llama-cpp-child.js', import.meta.url)

/** Where node-llama-cpp is installed: for the current folder, or beside fasp. Undefined where it is not. */
export function findNodeLlamaCpp(): string | undefined {
  for (const from of [join(process.cwd(), 'x'), fileURLToPath(import.meta.url)])
    try {
      return pathToFileURL(createRequire(from).resolve('node-llama-cpp')).href
    } catch {}
  return undefined
}

const PROMPT = 'It was a dark and stormy night. The old man said: "Once upon a time, in 1987,'
const GREEDY_TOKENS = 32

/**
 * Compares a GGUF file, as our own reader has it in `model`, with what llama.cpp makes of it.
 * @returns what to tell the user @throws OutputError where they differ, or llama.cpp does not run it
 */
export async function verifyInLlamaCpp(
  path: string,
  dtype: string,
  model: Model,
  engine: Engine,
  { library = findNodeLlamaCpp(), child = CHILD } = {},
): Promise<string> {
  if (library === undefined) return 'Not checked in llama.cpp: npm install node-llama-cpp, and --verify uses it.'
  const tokenizer = loadTokenizer(model.checkpoint)
  const begin = tokenizer.encode('').length // what stands around a text, for which llama.cpp has options of its own
  const ids = [...tokenizer.encode(PROMPT)]
  const request = { ids, greedy: GREEDY_TOKENS, texts: [PROMPT], threads: availableParallelism() }
  const answer = await runLlamaCpp(library, path, request, child)
  const fail = (problem: string) => {
    throw new OutputError(`llama.cpp runs the export, but ${problem}. This is a fault of fasp; please report it.`)
  }
  if (answer.tokens[0].join() !== ids.slice(begin).join()) fail('its tokenizer gives other ids')
  const ours = await logits(model, engine, [...ids, ...answer.greedy])
  const found = agreement(ours, answer.logits, answer.greedy, model.architecture.vocabularySize)
  const allowed = allowedFor(dtype)
  if (!(found.divergence <= allowed.divergence))
    fail(
      `its probabilities are ${found.divergence.toPrecision(2)} nats a token from ours, allowed are ${allowed.divergence}`,
    )
  if (!(found.preference <= allowed.preference)) fail(`it writes other text after ${found.same} tokens`)
  const then = found.same < GREEDY_TOKENS ? ', then another that we find nearly as likely' : ''
  return `llama.cpp writes the same ${found.same} tokens${then}; probabilities differ by ${found.probability.toPrecision(2)} at most.`
}

/** As the child answers, the logits decoded. */
export interface LlamaResult extends Omit<LlamaAnswer, 'logits'> {
  readonly logits: Float32Array<ArrayBuffer>
}

/** @throws OutputError where llama.cpp does not load or run the file */
export async function runLlamaCpp(
  library: string,
  path: string,
  request: LlamaRequest,
  script = CHILD,
): Promise<LlamaResult> {
  const child = spawn(process.execPath, [fileURLToPath(script), library, path], { stdio: ['pipe', 'pipe', 'pipe'] })
  child.stdin.on('error', () => {}) // it ended before it read; why is on stderr
  child.stdin.end(JSON.stringify(request))
  const [out, problems, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise<number | string | null>((resolve, reject) =>
      child.on('error', reject).on('close', (code, signal) => resolve(code ?? signal)),
    ),
  ])
  if (code !== 0) throw new OutputError(`llama.cpp does not run the export (${code}): ${reason(problems)}.`)
  const answer = JSON.parse(out.trimEnd().split('\n').at(-1)!) as LlamaAnswer
  return { ...answer, logits: new Float32Array(new Uint8Array(Buffer.from(answer.logits, 'base64')).buffer) }
}

/** The line that says most: what llama.cpp or Node call an error, or the last. */
function reason(problems: string): string {
  const lines = problems.split('\n').filter(line => line.trim() !== '')
  return (lines.find(line => /error|assert/i.test(line)) ?? lines.at(-1) ?? 'no message').trim()
}
