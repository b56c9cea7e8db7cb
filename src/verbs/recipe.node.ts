// `recipe`: a run as the `fasp.json` of a result says, but for options given beside it; differences are told first.
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { baseName, isGgufFile } from '../base/display.ts'
import { FormatError, UsageError } from '../base/errors.ts'
import { describeValue, isJsonObject, shorten } from '../base/json.ts'
import { VERSION } from '../base/version.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { type Method, optionName } from '../method/method.ts'
import { methodOf } from '../method/method-text.ts'
import { checkGiven } from '../options/call-check.ts'
import { AMOUNTS } from '../options/options.ts'
import { takenBy } from '../options/verbs.ts'
import { OWN_MARK, readMark } from '../output/place.node.ts'
import type { NamedText } from '../text/calibration.ts'
import type { ExportRequest } from '../write/targets.ts'
import type { HealChoice } from './prune-heal.node.ts'

/** A text that a run read. */
export interface RecordedText {
  /** As it was given. */
  readonly text: string
  /** Of the text; absent where a program gave it. */
  readonly sha256?: string
}

/** `asked` of `fasp.json`: what was asked for beside its `options`. */
export interface Asked {
  readonly calibration?: readonly RecordedText[]
  readonly vocabulary?: { readonly keep: readonly RecordedText[]; readonly size?: number }
  readonly to?: readonly ExportRequest[]
  /** Tokens, or as many as healing takes by itself, or these and what is trained how. */
  readonly heal?: number | true | HealChoice
  readonly text?: readonly RecordedText[]
  readonly textWindows?: number
  readonly keepStatistics?: boolean
}

/** What a `fasp.json` says of how it was made. */
export interface RecipeFile {
  /** The file. */
  readonly name: string
  readonly source: { readonly name: string; readonly sha256?: string }
  readonly asked: Asked
  /** As `prune` takes them, in the order in which it was given them. */
  readonly options: Readonly<Record<string, unknown>>
}

export interface RecipeOptions {
  /** The `fasp.json` of an earlier result, or its folder: that is done again. Options beside it win. @default none */
  readonly recipe?: string
}

const TAKEN = Object.entries(takenBy('prune', 'node'))
const OPTIONS = Object.fromEntries(TAKEN.filter(([, { recipe }]) => recipe))
/** What is written and measured besides, where the output is a folder. */
const BESIDES = TAKEN.flatMap(([name, { recipe }]) => (recipe === 'folder' ? [name] : []))

const WANTED = 'Give the fasp.json of a folder that fasp pruned, or the folder.'

/**
 * The options that are given, and below them those of the recipe.
 * @returns `differences`: what the user should know before the work
 * @throws FormatError for what is no recipe; UsageError where it does not say what to calibrate on
 */
export async function withRecipe<O extends RecipeOptions & { readonly output?: unknown }>(
  given: O,
): Promise<{ readonly options: O; readonly recipe?: RecipeFile; readonly differences: readonly string[] }> {
  const { recipe: path, ...rest } = given
  if (path === undefined) return { options: rest as O, differences: [] }
  const { fasp, calibratedOn, healed, ...recipe } = await readRecipe(path)
  const own: Readonly<Record<string, unknown>> = Object.fromEntries(defined(rest))
  const { output = '' } = given
  const toFolder = typeof output === 'string' && !isGgufFile(output)
  const out = [...(AMOUNTS.some(amount => amount in own) ? AMOUNTS : []), ...(toFolder ? [] : BESIDES)]
  const below = Object.fromEntries(Object.entries(recipe.options).filter(([name]) => !out.includes(name)))
  if (!('calibration' in own || 'calibration' in below || calibratedOn === 'self'))
    throw new UsageError(
      `${recipe.name} does not name what it was calibrated on. Say on what: calibration, --calibration <file>.`,
    )
  const other = Object.keys(own).filter(
    name => name in OPTIONS && written(name, own[name]) !== written(name, recipe.options[name]),
  )
  return {
    options: { ...below, ...own } as object as O,
    recipe,
    differences: [
      ...(fasp === VERSION ? [] : [unlike(recipe, `fasp ${VERSION} (there ${fasp}), and the result may differ`)]),
      ...(healed && !('heal' in own || 'heal' in below)
        ? [unlike(recipe, `not healed (there ${healed}, by fasp heal, which can do it again)`)]
        : []),
      ...other.map(name =>
        unlike(
          recipe,
          `${optionName(name)} ${written(name, own[name])} (there ${written(name, recipe.options[name])})`,
        ),
      ),
    ],
  }
}

const unlike = ({ name }: RecipeFile, what: string): string => `Unlike ${name}: ${what}.`

function written(name: string, value: unknown): string {
  if (value === undefined) return 'none'
  if (name === 'method') return methodOf(value as Method | string).text
  return isJsonObject(value) && 'windows' in value ? 'windows' : shorten(JSON.stringify(value))
}

/** What there is to say of texts that are not those of the recipe. */
export const otherTexts = (recipe: RecipeFile, asked: Asked): string[] =>
  textsOf(asked).flatMap((texts, i) => {
    const before = new Map(textsOf(recipe.asked)[i].map(({ text, sha256 }) => [text, sha256]))
    return texts
      .filter(({ text, sha256 }) => before.get(text) && before.get(text) !== sha256)
      .map(({ text }) => unlike(recipe, `${text} has other contents`))
  })

const textsOf = ({ calibration = [], vocabulary, text = [] }: Asked) => [calibration, vocabulary?.keep ?? [], text]

/** What there is to say of a model that is not that of the recipe. @param sha256 of its files, where that is known */
export function otherModel(recipe: RecipeFile, { name }: Checkpoint, sha256?: string): string[] {
  const { source } = recipe
  const [now, before] = [baseName(name), source.name]
  if (sha256 && source.sha256 ? sha256 === source.sha256 : now === before) return []
  return [unlike(recipe, now === before ? `the model ${now} has other files` : `the model ${now} (there ${before})`)]
}

/** As `fasp.json` names texts. */
export const recorded = (given: readonly (string | NamedText)[], texts: readonly NamedText[]): RecordedText[] =>
  given.map((text, i) => ({ text: typeof text === 'string' ? text : text.name, sha256: texts[i].sha256 }))

interface ReadRecipe extends RecipeFile {
  readonly fasp: string
  /** `calibration.source`. */
  readonly calibratedOn: unknown
  /** On how much, in words. */
  readonly healed?: string
}

async function readRecipe(path: string): Promise<ReadRecipe> {
  if (isGgufFile(path)) throw new FormatError(path, `is a .gguf file, which holds no recipe. ${WANTED}`)
  const isFolder = (await stat(path).catch(() => undefined))?.isDirectory()
  const name = isFolder ? join(path, OWN_MARK) : path
  const { schema, fasp, source, calibration, options: resolved, asked = {}, healed: healing } = await readMark(name)
  const wrong = (problem: string) => new FormatError(name, `${problem}. ${WANTED}`)
  if (schema !== 1) throw wrong(`schema is ${describeValue(schema)}; this version of fasp reads 1`)
  if (typeof fasp !== 'string' || !isSource(source) || !isJsonObject(calibration) || !isJsonObject(resolved))
    throw wrong('does not say how a model was pruned')
  if (!isAsked(asked)) throw wrong('"asked" has texts or exports in a form that fasp does not write')
  const { calibration: texts, vocabulary, text, ...besides } = asked
  const names = (list?: readonly RecordedText[]) => list?.map(one => one.text)
  const instead = AMOUNTS.some(amount => amount !== 'sparsity' && amount in resolved) // what the sparsity was found for
  const options = {
    ...resolved,
    ...(instead && { sparsity: undefined }),
    calibration: names(texts),
    vocabulary: vocabulary && { ...vocabulary, keep: names(vocabulary.keep) },
    text: names(text),
    ...besides,
  }
  const known = Object.fromEntries(defined(options).filter(([option]) => option in OPTIONS))
  try {
    checkGiven(known, { called: 'a recipe', options: OPTIONS })
  } catch (cause) {
    throw wrong((cause as UsageError).message)
  }
  const healed = isJsonObject(healing) ? `on ${describeValue(healing.tokens)} tokens` : undefined
  return { name, fasp, source, asked, options: known, calibratedOn: calibration.source, healed }
}

const defined = (options: object) => Object.entries(options).filter(([, value]) => value !== undefined)

const isOptional = (value: unknown) => value === undefined || typeof value === 'string'
const isSource = (value: unknown): value is RecipeFile['source'] =>
  isJsonObject(value) && typeof value.name === 'string' && isOptional(value.sha256)
const isText = (value: unknown): value is RecordedText =>
  isJsonObject(value) && typeof value.text === 'string' && isOptional(value.sha256)
const isRequest = (value: unknown): value is ExportRequest =>
  isJsonObject(value) && typeof value.to === 'string' && isOptional(value.dtype)

function isAsked(value: unknown): value is Asked {
  if (!isJsonObject(value)) return false
  const { calibration, vocabulary, text, to } = value
  const isList = (list: unknown, is: (one: unknown) => boolean) =>
    list === undefined || (Array.isArray(list) && list.every(is))
  const isCut =
    vocabulary === undefined ||
    (isJsonObject(vocabulary) && vocabulary.keep !== undefined && isList(vocabulary.keep, isText))
  return isCut && isList(calibration, isText) && isList(text, isText) && isList(to, isRequest)
}
