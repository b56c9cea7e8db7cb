import { describe, expect, test } from 'vitest'
import * as node from '../node.ts'
import * as web from '../web.ts'

const { compare, exportModel, openEngine, push } = node

/** What no type allows. */
const wrong = (value: unknown) => value as never

type Wrong = readonly [string, () => Promise<unknown>, string]

const refused = async ([, call, says]: Wrong) =>
  expect(call()).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining(says) })

const text = { name: 'a.txt', text: async () => 'a' }
const engine = wrong({ run() {} })

describe.for([
  ['Node', node, 'an array of names and texts', 'a string or an object', 'inspect takes signal, onEvent.'],
  ['a page', web, 'an array of objects', 'an object', 'inspect takes fetch, signal, onEvent.'],
] as const)('in %s', ([, { evaluate, generate, inspect, perplexity, prepare, prune }, texts, place, takes]) => {
  const wrongs: Wrong[] = [
    [
      'a name that is nearly one',
      () => prune('none', wrong({ sparsity: 0.2, output: {}, calibraton: ['a'] })),
      'unknown option calibraton. Did you mean calibration?',
    ],
    ['a name like none', () => inspect('none', wrong({ zzz: 1 })), `unknown option zzz. ${takes}`],
    [
      'a text for a list',
      () => prune('none', wrong({ sparsity: 0.2, output: {}, calibration: 'a.txt' })),
      `calibration is "a.txt"; it must be ${texts} or an object.`,
    ],
    [
      'a number for a text',
      () => prune('none', wrong({ sparsity: 0.2, output: {}, calibration: [1] })),
      `calibration is [1]; it must be ${texts}`,
    ],
    [
      'a text for a number',
      () => prepare('none', wrong({ sparsity: '0.3', output: {} })),
      'sparsity is "0.3"; it must be a number.',
    ],
    [
      'an option of a method',
      () => prune('none', wrong({ sparsity: 0.2, output: {}, engine, alpha: 1 })),
      "alpha is no option of prune but of its method. Write method: 'best:alpha=0.25'.",
    ],
    [
      'a preset',
      () => prune('none', wrong({ sparsity: 0.2, output: {}, preset: 'best' })),
      'preset is no option of prune',
    ],
    [
      'a number out of range',
      () => prune('none', wrong({ sparsity: 0.2, output: {}, engine, heldOut: -1 })),
      'held-out is -1; it must be an integer from 0 to 1000.',
    ],
    [
      'half a window',
      () => prune('none', wrong({ sparsity: 0.2, output: {}, engine, windows: 1.5 })),
      'windows is 1.5; it must be an integer from 1 to 1000000.',
    ],
    [
      'a choice that is none',
      () => prune('none', wrong({ sparsity: 0.2, output: {}, engine, products: 'fp16' })),
      'products is "fp16"; it must be one of float32, bf16, tf32.',
    ],
    [
      'a seed of generate',
      () => generate('none', 'a', wrong({ engine, seed: -1 })),
      'seed is -1; it must be an integer',
    ],
    ['evaluate', () => evaluate('none', wrong({ text: 'a.txt' })), `text is "a.txt"; it must be ${texts}.`],
    [
      'a name that evaluate has not',
      () => evaluate('none', wrong({ text: [text], engine, windws: 1 })),
      'unknown option windws. Did you mean windows?',
    ],
    ['perplexity', () => perplexity('none', text, wrong({ seqLen: [4] })), 'seqLen is [4]; it must be a number.'],
    ['generate', () => generate('none', 'a', wrong({ maxTokens: '4' })), 'maxTokens is "4"; it must be a number.'],
    ['no output', () => prune('none', wrong({ sparsity: 0.2 })), `prune needs output, ${place}.`],
    [
      'nothing to remove',
      () => prune('none', wrong({ output: {}, engine })),
      'no sparsity. Say how much to remove, in one way: sparsity (-s 0.2), size (--size 85MB), parameters (--params',
    ],
    ['no model', () => prune(wrong(undefined), wrong({})), 'model of prune is undefined; it must be a string or an'],
    ['no prompt', () => generate('none', wrong(undefined)), 'prompt of generate is undefined; it must be a string'],
    ['nothing to measure', () => evaluate('none', wrong({ engine })), 'nothing to measure. Give text, tasks, or both.'],
    [
      'a method that is none',
      () => prune('none', wrong({ sparsity: 0.2, output: {}, engine, method: { a: 1 } })),
      'method "[object Object]" is unknown; there is: stock, best',
    ],
    ['no options at all', () => prune('none', wrong('x')), 'prune takes its options as an object, not as "x".'],
  ]
  test.for(wrongs)('%s', refused)
})

test.for<Wrong>([
  [
    'exportModel',
    () => exportModel('none', wrong({ output: 'x', to: 'gguf' })),
    'to is "gguf"; it must be an array of objects.',
  ],
  [
    'compare',
    () => compare('none', wrong({ output: 'x', methods: 'best' })),
    'methods is "best"; it must be an array of strings.',
  ],
  ['push', () => push('none', 'a/b', wrong({ private: 'yes' })), 'private is "yes"; it must be true or false.'],
  [
    'a text for a request of an export',
    () => exportModel('none', wrong({ output: 'x', to: ['gguf:q8_0'] })),
    'to is ["gguf:q8_0"]; it must be an array of objects.',
  ],
  ['no sparsities', () => compare('none', wrong({ output: 'x', methods: ['best'] })), 'compare needs sparsity'],
  ['openEngine', async () => openEngine(wrong({ devise: 'cpu' })), 'unknown option devise. Did you mean device?'],
  [
    'an engine of Node in a page',
    () => web.generate('none', 'a', { engine: wrong({ threads: 4 }) }),
    'no engine. Give one: engine: createEngine(ort), where ort is onnxruntime-web.',
  ],
])('%s', refused)
