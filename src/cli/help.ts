// What commands say of themselves, from their one specification: `--help`, `--help-all`, and docs/cli.md.
import { METHOD_HELP, METHOD_OPTION_HELP, type MethodHelp } from '../options/methods.ts'
import type { Option } from '../options/option.ts'
import { GROUPS } from '../options/spec.ts'
import { commandedBy, flagOf } from '../options/verbs.ts'
import { COMMON } from './arguments.ts'
import type { Command } from './command.ts'

const COLUMNS = 80
/** A command with as many options shows them in groups. */
const GROUPED = 12

type Row = readonly [left: string, right: string]

/** @param all what few need and what methods there are, too */
export function commandHelp({ verb, usage, summary, examples = [], methods }: Command, all: boolean): string {
  const options = Object.entries(commandedBy(verb))
  const hasRare = options.some(([, { rare }]) => rare)
  const common = Object.entries<Option>(COMMON).filter(([name]) => hasRare || name === 'help')
  const shown = [...options.filter(([, { rare }]) => all || !rare), ...common]
  const listed = shown.map(([name, option]) => ({ group: groupOf(name, option), row: rowOf(name, option) }))
  const groups = listed.length < GROUPED ? ['Options'] : Object.keys(GROUPS)
  const parts = [
    `fasp ${usage}`,
    summary,
    ...groups.map(group => {
      const own = listed.filter(one => group === 'Options' || one.group === group)
      return `${group}:\n${rows(own.map(({ row }) => row))}`
    }),
    ...(methods && all ? [methodsHelp()] : []),
    ...(examples.length > 0 ? [`Examples:\n${examples.map(example => `  ${example}`).join('\n')}`] : []),
  ]
  return `${parts.join('\n\n')}\n`
}

function groupOf(name: string, { needed }: Option): string {
  const [first, ...others] = Object.keys(GROUPS) as (keyof typeof GROUPS)[]
  return needed || name in GROUPS[first] ? first : (others.find(group => name in GROUPS[group]) ?? 'Output')
}

function rowOf(name: string, option: Option): Row {
  const { type, short, choices, bare, value = 'n', also, help, default: otherwise } = option
  const others = choices?.filter(choice => choice !== bare).join('|')
  const shown = type === 'flag' ? '' : bare ? (others ? `[=${others}]` : ` [${value}]`) : ` ${others ?? value}`
  const second = also ? `; also --${also}` : ''
  const words = otherwise === undefined ? `${help}${second}` : `${help} (default ${otherwise})${second}`
  return [`${short ? `-${short}, ` : '    '}--${flagOf(name, option)}${shown}`, words]
}

const methodsHelp = (): string =>
  `Methods, and their options with the default first:
${METHOD_HELP.map(methodHelp).join('\n')}

Options of methods, as in best:alpha=0.25:center:
${rows(METHOD_OPTION_HELP.map(({ name, help }) => [name, help]))}`

function methodHelp({ name, help, options }: MethodHelp): string {
  const text = rows([[name, help]])
  return options.length > 0 ? `${text}\n${wrapped(`      ${options.join(' ')}`, 6)}` : text
}

/** Two columns, the second from 30 on. */
const rows = (of: readonly Row[]): string =>
  of
    .map(([left, right]) =>
      left.length > 26 ? `  ${left}\n${' '.repeat(30)}${right}` : `  ${left.padEnd(28)}${right}`,
    )
    .map(row =>
      row
        .split('\n')
        .map(line => wrapped(line, 30))
        .join('\n'),
    )
    .join('\n')

/** At spaces, the lines after the first indented. */
function wrapped(text: string, indent: number): string {
  const at = text.length > COLUMNS ? text.lastIndexOf(' ', COLUMNS) : -1
  return at <= indent ? text : `${text.slice(0, at)}\n${wrapped(' '.repeat(indent) + text.slice(at + 1), indent)}`
}

/** docs/cli.md. */
export const cliPage = (commands: readonly Command[]): string => `# Commands

Every command takes \`--help\`, which shows what most people need, and \`--help-all\`, which shows all, as this page
does. Progress goes to stderr, results to stdout. With \`--json\` stdout has one JSON document and nothing else:
the result, or \`{"error": {"code", "message"}}\`; \`--json=full\` has the indices of what is kept, too. \`--quiet\`
leaves notices, errors and the outcome. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted (Ctrl-C,
SIGTERM and SIGHUP are obeyed within a second). \`FASP_LOG=debug\` shows stack traces; \`NO_COLOR\` and \`TERM=dumb\`
turn colours off.

\`--method\` takes the name of a method, and after colons its options: \`stock\`, \`best:alpha=0.25\`,
\`plain:scope=ffn+ragged:layout=compact:center\`. Of several values the first is the default.
[methods.md](methods.md) says what they are.

\`npx vitest run test/docs.test.ts -u\` makes this page anew from \`src/options/spec.ts\` and
\`src/method/method.ts\`.
${commands.map(section).join('')}`

const section = (command: Command) =>
  `\n## fasp ${command.usage.split(' ')[0]}\n\n\`\`\`text\n${commandHelp(command, true)}\`\`\`\n`
