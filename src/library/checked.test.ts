import { expect, test } from 'vitest'
import { compare, evaluate, exportModel, generate, inspect, openEngine, perplexity, prune, push } from '../node.ts'

/** What no type allows. */
const wrong = (value: unknown) => value as never

test.for<[string, () => Promise<unknown>, string]>([
  [
    'a name that is nearly one',
    () => prune('none', wrong({ sparsity: 0.2, output: 'x', calibraton: ['a'] })),
    'unknown option calibraton. Did you mean calibration?',
  ],
  ['a name like none', () => inspect('none', wrong({ zzz: 1 })), 'unknown option zzz. inspect takes signal, onEvent.'],
  [
    'a text for a list',
    () => prune('none', wrong({ sparsity: 0.2, output: 'x', calibration: 'a.txt' })),
    'calibration is "a.txt"; it must be an array of names and texts or an object.',
  ],
  [
    'a text for a number',
    () => prune('none', wrong({ sparsity: '0.3', output: 'x' })),
    'sparsity is "0.3"; it must be a number.',
  ],
  ['an option of a method', () => prune('none', wrong({ sparsity: 0.2, output: 'x', alpha: 1 })), 'alpha is no option'],
  [
    'evaluate',
    () => evaluate('none', wrong({ text: 'a.txt' })),
    'text is "a.txt"; it must be an array of names and texts.',
  ],
  ['perplexity', () => perplexity('none', 'a.txt', wrong({ seqLen: [4] })), 'seqLen is [4]; it must be a number.'],
  ['generate', () => generate('none', 'a', wrong({ maxTokens: '4' })), 'maxTokens is "4"; it must be a number.'],
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
  [
    'a number for a text',
    () => prune('none', wrong({ sparsity: 0.2, output: 'x', calibration: [1] })),
    'calibration is [1]; it must be an array of names and texts',
  ],
  ['no output', () => prune('none', wrong({ sparsity: 0.2 })), 'prune needs output, a string or an object.'],
  ['no sparsities', () => compare('none', wrong({ output: 'x', methods: ['best'] })), 'compare needs sparsity'],
  [
    'no model',
    () => prune(wrong(undefined), { output: 'x' }),
    'model of prune is undefined; it must be a string or an',
  ],
  ['no prompt', () => generate('none', wrong(undefined)), 'prompt of generate is undefined; it must be a string'],
  ['nothing to measure', () => evaluate('none', {}), 'nothing to measure. Give text, tasks, or both.'],
  [
    'a method that is none',
    () => prune('none', wrong({ sparsity: 0.2, output: 'x', method: { a: 1 } })),
    'method "[object Object]" is unknown; there is: stock, best',
  ],
  ['openEngine', async () => openEngine(wrong({ devise: 'cpu' })), 'unknown option devise. Did you mean device?'],
  ['no options at all', () => prune('none', wrong('x')), 'prune takes its options as an object, not as "x".'],
])('%s', async ([, call, says]) => {
  await expect(call()).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining(says) })
})
