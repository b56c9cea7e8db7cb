// The same on the command line, to type as it stands: its words.
import type { PrunedFacts } from '../src/page/protocol.ts'

/** For a POSIX shell. */
const quoted = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`

/**
 * @param model name of its file or folder @param texts names of its calibration texts; none where it wrote its own
 * @param vocabulary tokens that stayed of them at most, where that was asked for
 */
export function commandLine(
  model: string,
  texts: readonly string[],
  {
    sparsity,
    method,
    windows,
    seqLen,
    seed,
    output,
    vocabulary,
  }: { readonly vocabulary?: number } & Pick<
    PrunedFacts,
    'sparsity' | 'method' | 'windows' | 'seqLen' | 'seed' | 'output'
  >,
): string[] {
  const free = `${model.replace(/^.*\//, '').replace(/\.gguf$/i, '')}-pruned${/\.gguf$/i.test(model) ? '.gguf' : ''}`
  const words = [
    ...['fasp', 'prune', model, '-s', String(sparsity), '-o', output ?? free],
    ...(method === 'stock' ? [] : ['--method', method]),
    ...texts.flatMap(text => ['--calibration', text]),
    ...(vocabulary === undefined ? [] : texts.flatMap(text => ['--vocabulary', text])),
    ...(vocabulary === undefined ? [] : ['--vocabulary-size', String(vocabulary)]),
    ...['--windows', String(windows), '--seq-len', String(seqLen)],
    ...(seed === 0 ? [] : ['--seed', String(seed)]),
  ]
  return words.map(quoted)
}
