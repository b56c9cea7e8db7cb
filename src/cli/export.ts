// fasp export: a model in other formats.
import { UsageError } from '../base/errors.ts'
import { exportModelEvents } from '../node.ts'
import { exportsTable, vocabularyTable } from '../report/terminal.ts'
import { openWithVocabulary } from '../verbs/vocabulary.node.ts'
import { defineCommand } from './command.ts'
import {
  ENGINE_OPTIONS,
  engineOptions,
  exportRequest,
  modelArgument,
  OUTPUT_OPTIONS,
  peakMemory,
  RESUME_OPTIONS,
} from './process.ts'
import { showProgress } from './progress.ts'
import { VOCABULARY_OPTIONS, vocabularyChoice } from './vocabulary.ts'

export default defineCommand({
  usage: 'export <folder | model.gguf | hub/id> --to <target> -o <output> [options]',
  summary: 'Writes a model in other formats, and reads each back to check it.',
  options: {
    to: {
      type: 'text',
      many: true,
      value: 'target',
      needed: true,
      help: 'gguf, onnx, padded, huggingface, or gguf:q8_0, …',
    },
    output: { type: 'text', short: 'o', value: 'path', help: 'folder, or a .gguf file' },
    overwrite: { type: 'flag', help: 'replace what fasp wrote before' },
    dtype: { type: 'text', value: 'type', help: 'f32, f16, bf16; gguf: q8_0 … (default: as source)' },
    ...VOCABULARY_OPTIONS,
    ...RESUME_OPTIONS,
    verify: { type: 'flag', help: 'run in llama.cpp or transformers.js too, if there' },
    ...ENGINE_OPTIONS,
    ...OUTPUT_OPTIONS,
  },
  examples: [
    'fasp export pruned --to gguf -o pruned.gguf --dtype q8_0',
    'fasp export pruned --to gguf:f16 --to padded -o out',
    'fasp export my-model -o small.gguf --vocabulary notes.txt',
  ],
  async run({ options, positionals }, { print, done, result: give, signal }) {
    const model = modelArgument(positionals)
    const { output, overwrite, dtype, verify } = options
    if (!output) throw new UsageError('no output. Say where it goes: -o <folder>, or -o <file>.gguf.')
    const what = { to: options.to?.map(exportRequest), dtype: dtype?.toUpperCase(), overwrite, verify }
    const resuming = { resume: options.resume, saveEvery: options['save-every'] }
    const vocabulary = vocabularyChoice(options)
    await using cut = vocabulary && (await showProgress(openWithVocabulary(model, vocabulary, [], signal)))
    const results = await showProgress(
      exportModelEvents(cut ?? model, { output, ...what, ...resuming, engine: engineOptions(options), signal }),
    )
    if (cut) print(`${vocabularyTable(cut.checkpoint.vocabulary!)}\n`)
    print(exportsTable(results))
    done(`Wrote ${output}`)
    give({ vocabulary: cut?.checkpoint.vocabulary, exports: results, peakMemoryBytes: peakMemory() })
  },
})
