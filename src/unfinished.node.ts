// What a run must not leave behind: paths that are there only while it runs. A program that ends the process by force (cli/cli.ts) listens
// to the channel and removes them; whoever makes them removes them otherwise.
import { channel } from 'node:diagnostics_channel'

/** Name of the channel (nodejs.org/api/diagnostics_channel.html). Its messages are `Unfinished`. */
export const UNFINISHED = 'fasp:unfinished'

export interface Unfinished {
  readonly path: string
  /** Something to remove with all that is in it; a folder to remove if it is empty; nothing any more. */
  readonly state: 'temporary' | 'parent' | 'kept'
}

/** Says so before `path` is made, or that it is to stay. */
export const tellUnfinished = (path: string, state: Unfinished['state']): void =>
  channel(UNFINISHED).publish({ path, state } satisfies Unfinished)
