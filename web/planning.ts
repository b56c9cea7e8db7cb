// The worker that opens models and plans, without an engine. It is small: what computes is in another (computing.ts), fetched when it is
// first asked for.
import { inspect } from '../src/evaluate/inspect.ts'
import { prepare } from '../src/run.ts'
import { open, opened, optionsOf } from './opened.ts'
import type { Answer, Ask } from './protocol.ts'
import { serve } from './serve.ts'

async function plan(settings: Ask<'plan'>): Promise<Answer<'plan'>> {
  const run = prepare(opened(), optionsOf(settings), { texts: settings.texts })
  const { sparsity, widths, sizes, memoryBytes, activationBytes } = run.plan
  const { windows, seqLen, method, layout } = run.options
  return {
    ...{ sparsity, widths, sizes, options: { windows, seqLen, method, layout }, notices: run.notices },
    // A page has no scratch file, and holds the result until it is taken away.
    memoryBytes: memoryBytes + activationBytes.scratch + sizes.weightBytes.after,
  }
}

serve({ open: async ask => inspect(await open(ask)), plan })
