// fasp export: a model in other formats.
import { UsageError } from '../base/errors.ts'
import { exportModelEvents, openWithVocabulary } from '../node.ts'
import { exportsTable, vocabularyTable } from '../report/terminal.ts'
import { given } from './arguments.ts'
import { defineCommand } from './command.ts'
import { engineOptions, exportRequest, modelArgument, peakMemory, vocabularyChoice } from './process.ts'
import { showProgress } from './progress.ts'

export default defineCommand({
  verb: 'exportModel',
  usage: 'export <folder | model.gguf | hub/id> --to <target> -o <output> [options]',
  summary: 'Writes a model in other formats, and reads each back to check it.',
  examples: [
    'fasp export pruned --to gguf -o pruned.gguf --dtype q8_0',
    'fasp export pruned --to gguf:f16 --to padded -o out',
    'fasp export my-model -o small.gguf --vocabulary notes.txt',
  ],
  async run({ options, positionals }, { print, done, result: give, signal }) {
    const model = modelArgument(positionals)
    const { output, to, dtype } = options
    if (!output) throw new UsageError('no output. Say where it goes: -o <folder>, or -o <file>.gguf.')
    const what = { ...given('exportModel', options), output, to: to?.map(exportRequest), dtype: dtype?.toUpperCase() }
    const vocabulary = vocabularyChoice(options)
    await using cut = vocabulary && (await showProgress(openWithVocabulary(model, vocabulary, [], signal)))
    const on = { engine: engineOptions(options), signal }
    const results = await showProgress(exportModelEvents(cut ?? model, { ...what, ...on }))
    if (cut) print(`${vocabularyTable(cut.checkpoint.vocabulary!)}\n`)
    print(exportsTable(results))
    done(`Wrote ${output}`)
    give({ vocabulary: cut?.checkpoint.vocabulary, exports: results, peakMemoryBytes: peakMemory() })
  },
})
