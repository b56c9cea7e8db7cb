// What users are told of methods and their options, as data: the help of the command line, and what completes it.
import { METHOD_NAMES, METHOD_OPTIONS, METHODS, optionName, optionsOf, specOf } from '../method/method.ts'

export interface MethodOptionHelp {
  /** As it is written: `probe-tokens`. */
  readonly name: string
  readonly help: string
}

/** Options of methods. */
export const METHOD_OPTION_HELP: readonly MethodOptionHelp[] = Object.entries(METHOD_OPTIONS).map(
  ([option, { help }]) => ({ name: optionName(option), help }),
)

export interface MethodHelp {
  readonly name: string
  readonly help: string
  /** Options of the method with their values, the default first: `repair=dense|aligned`, `center`. */
  readonly options: readonly string[]
}

export const METHOD_HELP: readonly MethodHelp[] = METHOD_NAMES.map(name => ({
  name,
  help: METHODS[name].help,
  options: optionsOf(name).map(option => {
    const values = specOf(name).parts[option]!
    const flag = METHOD_OPTIONS[option].type === 'flag'
    return `${optionName(option)}${flag ? '' : `=${values.join('|') || 'n'}`}`
  }),
}))
