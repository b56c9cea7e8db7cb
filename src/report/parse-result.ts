// result.json from a file that may be cut short, of another kind or version, or changed by hand: checked field by field.
import { FormatError } from '../base/errors.ts'
import { describeValue, isJsonObject, parseJson, quote } from '../base/json.ts'
import { VERSION } from '../base/version.ts'
import { Misshapen } from '../result/shape.ts'
import { RESULT, RESULT_COMMANDS, RESULT_SCHEMA, type ResultFile } from './result-file.ts'

/**
 * The result in `text`. Fields that this version does not know stay as they are.
 * @param file name for messages
 * @throws FormatError where it is not JSON, not a result, of a newer schema, or has a field that is missing or of the wrong kind
 */
export function parseResult(text: string, file: string): ResultFile {
  const value = parse(text, file)
  if (!isJsonObject(value) || !RESULT_COMMANDS.some(command => command === value.command))
    throw new FormatError(file, `is ${describe(value)}, not a result of fasp prune, eval or compare. ${GIVE}`)
  if (value.schema !== RESULT_SCHEMA)
    throw new FormatError(
      file,
      `has schema ${describeValue(value.schema)}; fasp ${VERSION} reads schema ${RESULT_SCHEMA}. Use the fasp that wrote it${typeof value.fasp === 'string' ? ` (${quote(value.fasp)})` : ''}, or a newer one.`,
    )
  try {
    return RESULT(value, '')
  } catch (error) {
    if (!(error instanceof Misshapen)) throw error
    throw new FormatError(file, `${error.message}. The file was changed or is damaged; make it again.`)
  }
}

export const GIVE = 'Give a .json that --report or fasp compare wrote.'

function parse(text: string, file: string): unknown {
  if (text.trim() === '') throw new FormatError(file, `is empty. ${GIVE}`)
  try {
    return parseJson(text)
  } catch (cause) {
    throw new FormatError(file, `is cut short, or is not JSON (${quote((cause as Error).message)}). ${GIVE}`, { cause })
  }
}

function describe(value: unknown): string {
  if (!isJsonObject(value)) return 'JSON'
  if ('source' in value && 'layers' in value) return 'the fasp.json of a pruned model'
  return 'speeds' in value ? 'a result of fasp bench' : 'JSON'
}
