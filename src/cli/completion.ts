// `fasp completion bash|zsh|fish`: scripts that complete commands, options and values, by the one specification.
import { METHOD_NAMES } from '../index.ts'
import { TARGETS, TASK_NAMES } from '../node.ts'
import type { Option } from '../options/option.ts'
import { commandedBy, flagOf } from '../options/verbs.ts'
import { COMMON } from './arguments.ts'
import type { Command } from './command.ts'

/** Of options that take other values, too. */
const VALUES: Readonly<Record<string, readonly string[]>> = {
  method: METHOD_NAMES,
  methods: METHOD_NAMES,
  to: Object.keys(TARGETS),
  tasks: TASK_NAMES,
}

type Commands = Readonly<Record<string, Pick<Command, 'summary' | 'verb'>>>

const SCRIPTS = { bash, zsh, fish } as const
export const SHELLS = Object.keys(SCRIPTS) as readonly (keyof typeof SCRIPTS)[]

export const completion = (shell: keyof typeof SCRIPTS, commands: Commands): string => SCRIPTS[shell](commands)

/** An option by its name on the command line, with the values that it may have. */
interface Offered {
  readonly name: string
  readonly option: Option
  readonly values: readonly string[]
}

const offeredBy = ({ verb }: Pick<Command, 'verb'>): Offered[] =>
  Object.entries<Option>({ ...commandedBy(verb), ...COMMON }).map(([name, option]) => {
    const { choices = [], bare } = option
    return { name: flagOf(name, option), option, values: VALUES[name] ?? (bare ? [] : choices) }
  })

function bash(commands: Commands): string {
  const all = Object.entries(commands)
  const values = all.flatMap(([command, of]) =>
    offeredBy(of)
      .filter(({ values }) => values.length > 0)
      .map(({ name, option, values }) => {
        const short = option.short ? `|${command}:-${option.short}` : ''
        return `    ${command}:--${name}${short}) words='${values.join(' ')}' ;;`
      }),
  )
  const options = all.map(([command, of]) => {
    const names = offeredBy(of).map(({ name }) => `--${name}`)
    return `    ${command}:*) [[ $cur == -* ]] && words='${names.join(' ')}' ;;`
  })
  return `_fasp() {
  local cur=\${COMP_WORDS[COMP_CWORD]} words=
  case \${COMP_WORDS[1]}:\${COMP_WORDS[COMP_CWORD - 1]} in
    *:fasp | help:help) words='${Object.keys(commands).join(' ')} help version completion' ;;
    completion:completion) words='${SHELLS.join(' ')}' ;;
${[...values, ...options].join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _fasp fasp
`
}

/** zsh runs completions of bash. */
function zsh(commands: Commands): string {
  return `autoload -U +X compinit bashcompinit && compinit && bashcompinit\n${bash(commands)}`
}

function fish(commands: Commands): string {
  const quoted = (text: string) => `'${text.replace(/['\\]/g, '\\$&')}'`
  const lines = Object.entries(commands).flatMap(([command, of]) => [
    `complete -c fasp -n __fish_use_subcommand -x -a ${command} -d ${quoted(of.summary)}`,
    ...offeredBy(of).map(({ name, option, values }) => {
      const { type, bare, short: letter, help = '' } = option
      const takes = values.length > 0 ? ` -x -a ${quoted(values.join(' '))}` : type === 'flag' || bare ? '' : ' -r'
      const short = letter ? ` -s ${letter}` : ''
      const where = `__fish_seen_subcommand_from ${command}`
      return `complete -c fasp -n '${where}' -l ${name}${short}${takes} -d ${quoted(help)}`
    }),
  ])
  return `${lines.join('\n')}\n`
}
