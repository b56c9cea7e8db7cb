// A look at one kind of thing that this machine may compute with, in a process of its own, started by probe.node.ts.
// usage: node devices-child.js PROBE [ARGUMENT]   the answer is a JSON line on stdout
import type { Found } from './found.ts'
import { PROBES } from './probes.node.ts'

async function answer([what, argument]: readonly string[]): Promise<Found<unknown>> {
  try {
    return { found: await PROBES[what as keyof typeof PROBES](argument as never) }
  } catch (error) {
    return { problem: (error as Error).message }
  }
}

process.stdout.write(`\n${JSON.stringify(await answer(process.argv.slice(2)))}\n`, () => process.exit(0))
