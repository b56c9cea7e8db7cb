// What several processes have to do, before they begin, and how long it takes at given rates.
import { bytes, duration, span, table } from '../display.ts'
import type { RankPlan, RankSeconds } from '../scale/plans.ts'

/** @param ranks the root first */
export function ranksText(
  ranks: readonly (RankPlan & { readonly memoryBytes: number })[],
  { windows, root, network, all, alone }: RankSeconds,
): string {
  const row = (name: string, of: typeof ranks) => {
    const most = (value: (rank: (typeof ranks)[number]) => number) => bytes(Math.max(...of.map(value)))
    const [sent, received] = [most(rank => rank.bytes.sent), most(rank => rank.bytes.received)]
    return [name, span(of.map(rank => rank.windows)), most(rank => rank.memoryBytes), sent, received]
  }
  const [first, ...others] = ranks
  const rows = [row('root', [first]), row(others.length > 1 ? `others (${others.length})` : 'the other', others)]
  const parts = `${duration(windows)} of windows, ${duration(root)} of decisions at the root, ${duration(network)} of network`
  return [
    table([['each of', 'windows', 'memory', 'sends', 'receives'], ...rows]),
    `Products alone, on ${ranks.length} machines like this one over 10 Gb Ethernet: ${duration(all)} (${parts}). One takes ${duration(alone)}.`,
  ].join('\n')
}
