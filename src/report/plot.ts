// Charts as SVG text, drawn by Observable Plot without a browser: lines, and bars over the layers. Titles on marks
// show on hover; a table beside each chart says the same (html.ts). Colours are CSS variables, light and dark, told
// apart by people who see colours differently (after Okabe and Ito 2008); symbols and labels say the same once more.
import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'
import { VERSION } from '../base/version.ts'

/** Width of all charts in units of the drawing, which scales to the page. */
const WIDTH = 760
const FONT = 12
/** Mean width of a character at that size. */
const CHARACTER = 6.6
const COLOURS = 7
const SYMBOLS = ['circle', 'square2', 'triangle2', 'diamond2', 'times', 'plus', 'asterisk'] as const

/** Colour number i of the page's palette. */
export const colour = (i: number): string => `var(--c${i % COLOURS})`

/** Dashes of line number i, where its colour is there already. */
const dashes = (i: number): string | undefined => [undefined, '6 3', '2 3'][Math.floor(i / COLOURS)]

/** Colours of pages and pictures as CSS; all have a contrast of 4.5 or more to the paper. */
export const LIGHT =
  '--paper:#fff;--ink:#1c1e21;' +
  '--c0:#0072b2;--c1:#b34700;--c2:#007a5a;--c3:#a83c84;--c4:#8f6300;--c5:#7a4fd0;--c6:#6b7280'
export const DARK =
  '--paper:#16181c;--ink:#e7e9ec;' +
  '--c0:#56b4e9;--c1:#ff8a4c;--c2:#2fc79b;--c3:#e48fc4;--c4:#e6b422;--c5:#b49bff;--c6:#9aa3af'

interface Options extends Plot.PlotOptions {
  /** What the picture shows, for those who do not see it. */
  readonly title: string
}

/** @returns an `<svg>` element that stands alone */
export function draw({ title, ...options }: Options): string {
  const { document } = parseHTML('<!doctype html><html></html>')
  const svg = Plot.plot({ document, figure: false, className: 'chart', width: WIDTH, ...options } as Plot.PlotOptions)
  // Names of marks are for nobody: an image has one name, and ARIA forbids them on groups.
  for (const part of svg.querySelectorAll('[aria-label]')) part.removeAttribute('aria-label')
  svg.setAttribute('role', 'img')
  svg.setAttribute('aria-label', title)
  svg.setAttribute('font-size', String(FONT))
  svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
  return visible(svg.outerHTML)
}

/** Neither HTML nor XML may hold control characters, which a file may. */
export const visible = (text: string): string => text.replace(/(?![\t\n\r])\p{Cc}/gu, '\ufffd')

/** Pictures below each other, with their titles, as a file of its own. */
export function pictureFile(charts: readonly { readonly title: string; readonly svg: string }[]): string {
  const titleHeight = 28
  let height = 0
  const parts = charts.map(({ title, svg }) => {
    const y = height + titleHeight
    height = y + Number(/ height="(\d+(?:\.\d+)?)"/.exec(svg)?.[1])
    const text = title.replace(/[&<>]/g, c => `&#${c.charCodeAt(0)};`)
    const heading = `<text x="8" y="${y - 8}" font-size="15" font-weight="600">${visible(text)}</text>`
    return `${heading}\n<svg y="${y}"${svg.slice('<svg'.length)}`
  })
  return `<!-- fasp ${VERSION} -->
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}"
  fill="currentColor" font-family="system-ui, sans-serif">
<style>:root{${LIGHT}}@media (prefers-color-scheme:dark){:root{${DARK}}}svg{color:var(--ink)}</style>
<rect width="100%" height="100%" fill="var(--paper)"/>
${parts.join('\n')}
</svg>
`
}

export interface Point {
  readonly x: number
  readonly y: number
  /** Shown on hover. */
  readonly title: string
}

export interface LineChart {
  readonly title: string
  readonly x: Plot.ScaleOptions
  readonly y: Plot.ScaleOptions & { readonly type: 'linear' | 'log' }
  readonly series: readonly { readonly name: string; readonly points: readonly Point[] }[]
  /** A level to compare with. */
  readonly reference?: { readonly name: string; readonly y: number }
  /** Lines leave the frame above this, so that one bad series does not flatten the others. @default none do */
  readonly limit?: number
}

/** One line for each series, named at its end, or where it leaves the frame. */
export function lineChart({ title, x, y, series, reference, limit = Number.POSITIVE_INFINITY }: LineChart): string {
  const height = 400
  const margins = { marginTop: 28, marginBottom: 44, marginLeft: 56 }
  const names = [...series.map(one => one.name), ...(reference ? [reference.name] : [])]
  const marginRight = 36 + CHARACTER * Math.max(...names.map(name => name.length))
  const values = [...series.flatMap(one => one.points.map(point => point.y)), ...(reference ? [reference.y] : [])]
  const [low, high] = [Math.min(...values), Math.min(limit, Math.max(...values))]
  const space = (high - low || 1) * 0.05
  const domain = y.type === 'log' ? [low * 0.95, high * 1.05] : [low - space, high + space]
  const range = [height - margins.marginBottom, margins.marginTop]
  const scale = { ...y, domain, range, grid: true, ...(y.type === 'log' ? { ticks: logTicks(domain) } : {}) }
  const place = (value: number) => Plot.scale({ y: scale })!.apply(Math.min(value, domain[1])) as number
  const right = Math.max(...series.map(({ points }) => points.at(-1)!.x))
  const labels = [
    ...series.map(({ name, points }, i) => {
      const end = points.at(-1)!
      const leaves = end.y > domain[1]
      return { name: leaves ? `↑ ${name}` : name, colour: colour(i), x: leaves ? right : end.x, y: place(end.y) }
    }),
    ...(reference ? [{ name: reference.name, colour: 'currentColor', x: right, y: place(reference.y) }] : []),
  ]
  // Names in one column would overlap.
  const columnOf = ({ x }: { readonly x: number }) => Math.round((20 * x) / right)
  const placed = [...new Set(labels.map(columnOf))].flatMap(number => {
    const column = labels.filter(label => columnOf(label) === number)
    const wanted = column.map(label => label.y)
    const places = apart(wanted, FONT * 1.25, range[1], range[0])
    return column.map((label, i) => ({ ...label, y: places[i] }))
  })
  return draw({
    title,
    height,
    ...margins,
    marginRight,
    x: { nice: false, ...x },
    y: scale,
    marks: [
      ...(reference ? [Plot.ruleY([reference.y], { stroke: 'currentColor', strokeDasharray: '2 3' })] : []),
      ...series.flatMap(({ points }, i) => {
        const channels = { x: (p: Point) => p.x, y: (p: Point) => p.y, stroke: colour(i) }
        return [
          Plot.line(points, { ...channels, strokeWidth: 2, strokeDasharray: dashes(i), clip: true }),
          Plot.dot(
            points.filter(point => point.y <= domain[1]),
            {
              ...channels,
              ...{ symbol: SYMBOLS[i % SYMBOLS.length], r: 4.5, fill: 'var(--paper)', strokeWidth: 1.8 },
              title: p => p.title,
            },
          ),
        ]
      }),
      ...placed.map(label =>
        Plot.text([label.name], {
          ...{ textAnchor: 'start', dx: 14, fill: label.colour, fontWeight: 600 },
          ...{ stroke: 'var(--paper)', strokeWidth: 5 }, // readable over other lines
          x: [label.x],
          y: { value: [label.y], scale: null },
        } as Plot.TextOptions),
      ),
    ],
  })
}

/** Powers of ten, with others between them where there is room; in less than a doubling as on a linear scale. */
function logTicks([low, high]: readonly number[]): number[] {
  if (high / low < 2) {
    const power = 10 ** Math.floor(Math.log10(high - low))
    const step = power * (high - low > 5 * power ? 1 : high - low > 2 * power ? 0.5 : 0.2)
    const first = Math.ceil(low / step)
    return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => +((first + i) * step).toPrecision(12))
  }
  const steps = high / low > 200 ? [1] : high / low > 5 ? [1, 2, 5] : [1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9]
  const powers = Array.from({ length: 40 }, (_, i) => 10 ** (i - 10))
  return powers.flatMap(power => steps.map(step => step * power)).filter(tick => tick >= low && tick <= high)
}

/** Places near the wanted ones with at least `gap` between two, between `low` and `high` as far as there is room. */
export function apart(wanted: readonly number[], gap: number, low: number, high: number): number[] {
  const order = [...wanted.keys()].sort((a, b) => wanted[a] - wanted[b])
  const places = [...wanted]
  let free = low
  for (const i of order) {
    places[i] = Math.max(wanted[i], free)
    free = places[i] + gap
  }
  free = high
  for (const i of order.reverse()) {
    places[i] = Math.min(places[i], free)
    free = places[i] - gap
  }
  return places
}

export interface Bar {
  readonly x: number
  readonly value: number
  /** Drawn behind it, faint: what it was before. */
  readonly before?: number
  /** Where it is larger on what was not fitted to: the difference has another colour. */
  readonly heldOut?: number
  readonly title: string
}

/** Bars over the layers, one panel above the other. */
export function layerBars(
  title: string,
  panels: Readonly<Record<string, readonly Bar[]>>,
  y: Plot.ScaleOptions,
): string {
  const bars = Object.entries(panels).flatMap(([panel, of]) => of.map(bar => ({ ...bar, panel })))
  const layers = Math.max(...bars.map(bar => bar.x)) + 1
  type PanelBar = (typeof bars)[number]
  const channels = {
    x: (bar: PanelBar) => bar.x,
    fy: (bar: PanelBar) => bar.panel,
    title: (bar: PanelBar) => bar.title,
  }
  return draw({
    title,
    height: 60 + 110 * Object.keys(panels).length,
    ...{ marginLeft: 56, marginTop: 24, marginBottom: 40, marginRight: 16 + CHARACTER * 14 },
    x: { label: 'layer', ticks: tickLayers(layers), padding: 0.15 },
    y: { ...y, grid: true, ticks: 4 },
    fy: { label: null, padding: 0.18, domain: Object.keys(panels) },
    marks: [
      Plot.barY(bars, { ...channels, y: bar => bar.before ?? bar.value, fill: 'var(--c0)', fillOpacity: 0.28 }),
      Plot.barY(bars, { ...channels, y: bar => bar.value, fill: 'var(--c0)' }),
      Plot.barY(
        bars.filter(({ value, heldOut = 0 }) => heldOut > value),
        { ...channels, y1: bar => bar.value, y2: bar => bar.heldOut, fill: 'var(--c1)' },
      ),
      Plot.ruleY([0]),
    ],
  })
}

/** Every layer where there is room for its number, or every fifth or tenth. */
const tickLayers = (layers: number): number[] => {
  const step = layers <= 32 ? 1 : layers <= 100 ? 5 : 10
  return Array.from({ length: Math.ceil(layers / step) }, (_, i) => i * step)
}
