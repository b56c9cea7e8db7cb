// The commands of `fasp`, in the order of its help. Only the code of the one that runs is loaded.
import type { Command } from './command.ts'

/** A command takes options of its own, which `parseArguments` gives it. */
// biome-ignore lint/suspicious/noExplicitAny: of any options
type Load = () => Promise<{ default: Command<any> }>

export const COMMANDS: Readonly<Record<string, { readonly summary: string; readonly load: Load }>> = {
  demo: { summary: 'prune the model that ships with the package, before and after', load: () => import('./demo.ts') },
  prune: { summary: 'prune a model and write the result', load: () => import('./prune.ts') },
  ui: { summary: 'prune in a page over the engine of this machine', load: () => import('./ui.ts') },
  heal: { summary: 'bring a pruned model nearer to the dense one', load: () => import('./heal.ts') },
  export: { summary: 'write a model as GGUF, ONNX, or with its old shapes', load: () => import('./export.ts') },
  eval: { summary: 'measure perplexity and zero-shot tasks', load: () => import('./eval.ts') },
  compare: { summary: 'measure several methods side by side', load: () => import('./compare.ts') },
  generate: { summary: 'continue a text', load: () => import('./generate.ts') },
  inspect: { summary: 'show architecture, shapes, parameters and bytes', load: () => import('./inspect.ts') },
  verify: { summary: 'check that a result is whole and as it was written', load: () => import('./verify.ts') },
  push: { summary: 'upload a result to the Hugging Face Hub', load: () => import('./push.ts') },
  report: { summary: 'show results, as text, page, tables or chart', load: () => import('./report.ts') },
  bench: { summary: 'time pruning, or models, on this machine', load: () => import('./bench.ts') },
}
