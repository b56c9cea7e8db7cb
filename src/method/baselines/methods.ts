// The parts of other authors' methods that results are compared with, as in method.ts.

/** Layout compact would keep query and key rows of removed heads. */
const HEADS = { scope: ['ffn+heads', 'ffn'], multiple: [], layout: ['padded', 'stock'] } as const
/** The result is a stock model with fewer layers. */
const LAYERS = { scope: ['layers'], layout: ['stock'] } as const

export const BASELINES = {
  flap: {
    help: 'FLAP: heads and neurons that fluctuate least, their mean in the bias',
    source: ['FLAP', '2312.11983'],
    parts: {
      scope: HEADS.scope,
      allocate: ['standardized'],
      score: ['fluctuation'],
      repair: ['bias'],
      layout: ['padded', 'compact'], // not stock: each layer has its own widths, and may lose all heads or neurons
    },
  },
  'wanda-sp': {
    help: 'Wanda-sp: heads and neurons by the column score',
    source: ['Wanda-sp', '2312.11983'],
    parts: HEADS,
  },
  magnitude: {
    help: 'heads and neurons by their weights alone',
    source: ['mag-sp', '2312.11983'],
    parts: { ...HEADS, score: ['magnitude'] },
  },
  random: {
    help: 'heads and neurons by chance, from --seed',
    source: ['a random choice'],
    parts: { ...HEADS, score: ['random'] },
  },
  osscar: {
    help: 'OSSCAR-like: heads and neurons by elimination, least squares',
    source: ['OSSCAR', '2403.12983'],
    parts: { ...HEADS, score: ['eliminate'], repair: ['pruned'], damp: [0.01] },
  },
  reap: {
    help: 'REAP: experts that add least to the stream, no repair',
    source: ['REAP', '2510.13999'],
    parts: { scope: ['experts'], layout: ['stock'] },
  },
  shortgpt: {
    help: 'ShortGPT: the layers that change the stream least',
    source: ['ShortGPT', '2403.03853'],
    parts: { ...LAYERS, allocate: ['influence'] },
  },
  sleb: {
    help: 'SLEB: the layers that the perplexity misses least',
    source: ['SLEB', '2402.09025'],
    parts: { ...LAYERS, allocate: ['perplexity'], probeTokens: [1024] },
  },
} as const
