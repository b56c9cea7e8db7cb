// Ranks that were started with other options would prune another model, or wait for each other without end.
import { UsageError } from '../base/errors.ts'
import type { Group } from './group.ts'

/** Characters of a value in a message. */
const SHOWN = 60

/** @param own what this rank is asked for, by name @throws UsageError on all ranks where one has another value */
export async function checkSame(group: Group, own: Readonly<Record<string, unknown>>): Promise<void> {
  const texts = Object.entries(own).map(([name, value]): [string, string] => [name, JSON.stringify(value) ?? 'none'])
  const all = (await group.gather(texts)).map(entries => new Map(entries))
  const [root, ...others] = all
  for (const [i, other] of others.entries())
    for (const name of new Set([...root.keys(), ...other.keys()])) {
      const [here, there] = [root, other].map(values => values.get(name) ?? 'none')
      if (here === there) continue
      throw new UsageError(
        `rank ${i + 1} of ${group.size} has ${name} ${short(there)}, and rank 0 ${short(here)}. ` +
          'Start all with the same command and the same files.',
      )
    }
}

const short = (text: string) => (text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text)
