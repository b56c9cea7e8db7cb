// The worker that opens models and plans, without an engine. It is small: what computes is in another (computing.ts), fetched when it is
// first asked for.
import { inspect } from '../src/evaluate/inspect.ts'
import { prepare } from '../src/run.ts'
import { planFacts } from '../src/ui/facts.ts'
import type { Answer, Ask } from '../src/ui/protocol.ts'
import { diskBytes, heldBytes } from './disk.ts'
import { fetchPart, look, search } from './hub.ts'
import { open, opened, optionsOf, textsOf } from './opened.ts'
import { serve } from './serve.ts'

const disk = diskBytes()

async function plan(settings: Ask<'plan'>): Promise<Answer<'plan'>> {
  const { plan, options, notices } = prepare(opened(), optionsOf(settings), { texts: textsOf(settings) })
  const held = heldBytes(plan)
  const memoryBytes = plan.memoryBytes + (held < (await disk) ? 0 : held)
  return planFacts(plan, options, { memoryBytes, notices })
}

serve({ open: async ask => inspect(await open(ask)), plan, search, look, fetch: fetchPart })
