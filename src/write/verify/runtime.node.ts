// Runs an export in another runtime and compares ids, logits and greedy text: the second half of `--verify`. The user
// installs the runtime; fasp does not depend on it. The runtime works in a process of its own: an assertion in its
// native library ends that process alone, and two versions of ONNX Runtime do not meet.
import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { OutputError } from '../../base/errors.ts'
import { logits } from '../../evaluate/logits.ts'
import type { Context } from '../../forward/context.ts'
import type { Model } from '../../model/model.ts'
import { loadTokenizer } from '../../text/tokenizer.ts'
import { type Allowance, agreement } from './agreement.ts'

/** What a child process reads from stdin, as JSON. */
export interface RuntimeRequest {
  /** One sequence. */
  readonly ids: readonly number[]
  /** Tokens to write after it, each the most likely one. */
  readonly greedy: number
  /** Texts to tokenise, special tokens included. */
  readonly texts: readonly string[]
  readonly threads: number
}

/** What it answers: the last line of stdout. */
export interface RuntimeAnswer {
  /** Logits after each token of the sequence, [ids.length · vocabulary] float32 as base64. */
  readonly logits: string
  readonly vocabulary: number
  readonly greedy: readonly number[]
  readonly tokens: readonly (readonly number[])[]
}

/** A `RuntimeAnswer` with the logits decoded. */
export interface RuntimeResult extends Omit<RuntimeAnswer, 'logits'> {
  readonly logits: Float32Array<ArrayBuffer>
}

export interface Runtime {
  readonly name: string
  /** Of npm. */
  readonly package: string
  /** The script to run: its arguments are where the package is, and those of `runRuntime`. */
  readonly child: URL
  /** Its tokenizer leaves out what stands around a text, such as a BOS: it has options of its own for that. */
  readonly bare: boolean
}

const PROMPT = 'It was a dark and stormy night. The old man said: "Once upon a time, in 1987,'
const GREEDY_TOKENS = 32

/** Where a package is installed: for the current folder, or beside fasp. Undefined where it is not. */
export function findPackage(name: string): string | undefined {
  for (const from of [join(process.cwd(), 'x'), fileURLToPath(import.meta.url)])
    try {
      return pathToFileURL(createRequire(from).resolve(name)).href
    } catch {}
  return undefined
}

/**
 * Compares `model`, as our own forward pass computes it, with what a runtime makes of the export that `args` name.
 * @returns what to tell the user @throws OutputError where they differ, or the runtime does not run it
 */
export async function verifyIn(
  context: Context,
  model: Model,
  runtime: Runtime,
  args: readonly string[],
  allowed: Allowance,
  library = findPackage(runtime.package),
): Promise<string> {
  const { name } = runtime
  if (library === undefined) return `Not checked in ${name}: npm install ${runtime.package}, and --verify uses it.`
  const tokenizer = loadTokenizer(model.checkpoint)
  const ids = [...tokenizer.encode(PROMPT)]
  const request = { ids, greedy: GREEDY_TOKENS, texts: [PROMPT], threads: availableParallelism() }
  const answer = await runRuntime(runtime, library, args, request)
  const fail = (problem: string) => {
    throw new OutputError(`${name} runs the export, but ${problem}. This is a fault of fasp; please report it.`)
  }
  const bare = runtime.bare ? ids.slice(tokenizer.encode('').length) : ids
  if (answer.tokens[0].join() !== bare.join()) fail('its tokenizer gives other ids')
  const ours = await logits(context, model, [...ids, ...answer.greedy])
  const found = agreement(ours, answer.logits, answer.greedy, model.architecture.vocabularySize)
  if (!(found.divergence <= allowed.divergence))
    fail(
      `its probabilities are ${found.divergence.toPrecision(2)} nats a token from ours, ` +
        `allowed are ${allowed.divergence}`,
    )
  if (!(found.preference <= allowed.preference)) fail(`it writes other text after ${found.same} tokens`)
  const { length } = answer.greedy // fewer where it ended the text
  const then = found.same < length ? ', then another that we find nearly as likely' : ''
  const worst = found.probability.toPrecision(2)
  return `${name} writes the same ${found.same} tokens${then}; probabilities differ by ${worst} at most.`
}

/** @throws OutputError where the runtime does not load or run the export */
export async function runRuntime(
  runtime: Runtime,
  library: string,
  args: readonly string[],
  request: RuntimeRequest,
): Promise<RuntimeResult> {
  const answer = (await ask(runtime, library, args, request, { what: 'the export' })) as RuntimeAnswer
  return { ...answer, logits: new Float32Array(new Uint8Array(Buffer.from(answer.logits, 'base64')).buffer) }
}

/**
 * Starts the child with a request as JSON on stdin, and parses its answer.
 * @param what the name of what runs, for the user @throws OutputError where the child fails; the reason of an abort
 */
export async function ask(
  { name, child: script }: Runtime,
  library: string,
  args: readonly string[],
  request: object,
  { what, signal }: { readonly what: string; readonly signal?: AbortSignal },
): Promise<unknown> {
  const child = spawn(process.execPath, [fileURLToPath(script), library, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    signal,
  })
  child.stdin.on('error', () => {}) // it ended before it read; why is on stderr
  child.stdin.end(JSON.stringify(request))
  const [out, problems, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise<number | string | null>((resolve, reject) =>
      child
        .on('error', error => reject(signal?.aborted ? signal.reason : error))
        .on('close', (code, killed) => resolve(code ?? killed)),
    ),
  ])
  signal?.throwIfAborted()
  if (code !== 0) throw new OutputError(`${name} does not run ${what} (${code}): ${reason(problems)}.`)
  return JSON.parse(out.trimEnd().split('\n').at(-1)!)
}

/** The line that says most: the error of the runtime or of Node, else the last. Node prints the place first. */
function reason(problems: string): string {
  const lines = problems.split('\n').filter(line => line.trim() !== '' && !/^\s*throw /.test(line))
  return (lines.find(line => /error|assert/i.test(line)) ?? lines.at(-1) ?? 'no message').trim()
}
