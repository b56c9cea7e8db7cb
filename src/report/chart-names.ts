/** The charts that can be written as `.svg`; charts.ts, which is large, draws them. */
export const CHART_NAMES = ['perplexity', 'tokens', 'accuracy', 'healing', 'layers'] as const

export type ChartName = (typeof CHART_NAMES)[number]
