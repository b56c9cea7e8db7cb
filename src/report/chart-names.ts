import { OPTIONS } from '../options/spec.ts'

/** The charts that can be written as `.svg`; charts.ts, which is large, draws them. */
export const CHART_NAMES = OPTIONS.chart.choices

export type ChartName = (typeof CHART_NAMES)[number]
