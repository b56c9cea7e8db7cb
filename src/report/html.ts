// The report: one HTML page that needs nothing else, a pure function of the result. Charts are pictures in the page with
// the same figures in a table below; the one script copies tables and may be absent. Names and texts of the result are
// escaped wherever they go, and the policy in the head lets the page load nothing and run nothing but that script.
import { count } from '../base/display.ts'
import { VERSION } from '../base/version.ts'
import { accuracyCharts, type Chart, healingCharts, layerCharts, perplexityCharts } from './charts.ts'
import { tilesOf } from './headline.ts'
import { runLabel } from './labels.ts'
import { layerTable, sensitivityTable } from './layers.ts'
import { madeLines } from './made.ts'
import page from './page.html'
import { DARK, LIGHT, visible } from './plot.ts'
import { isDense, type PrunedRun, prunedRuns, type ResultFile, type Run } from './result-file.ts'
import { filled, runTable, type Table } from './table.ts'
import {
  asked,
  engineTables,
  exportsTable,
  failuresTable,
  healingTables,
  lossTable,
  sampleTable,
  secondsTable,
  sizesTable,
  tasksTables,
  textTables,
  wordsTable,
} from './tables.ts'

/** HTML that is done: `html` escapes everything else. */
class Html {
  constructor(readonly text: string) {}
}

type Content = string | number | Html | readonly Content[]

const escapeText = (text: string): string => visible(text).replace(/[&<>"']/g, c => `&#${c.charCodeAt(0)};`)

const render = (content: Content): string =>
  content instanceof Html
    ? content.text
    : Array.isArray(content)
      ? content.map(render).join('')
      : escapeText(String(content))

const html = (parts: TemplateStringsArray, ...contents: readonly Content[]): Html =>
  new Html(parts.reduce((text, part, i) => text + render(contents[i - 1]) + part))

const TITLES: Readonly<Record<ResultFile['command'], string>> = {
  compare: 'methods compared',
  eval: 'evaluation',
  prune: 'pruned',
  heal: 'healed after pruning',
}

type Section = readonly [id: string, title: string, ...content: readonly (readonly Html[])[]]

/** The report of a result as an HTML page. */
export async function reportHtml(result: ResultFile): Promise<string> {
  const { model, command } = result
  const sections = sectionsOf(result)
    .map(([id, title, ...content]) => ({ id, title, content: content.flat() }))
    .filter(({ content }) => content.length > 0)
  const fields: Readonly<Record<string, Content>> = {
    version: VERSION,
    palette: new Html(
      `<style>:root{${LIGHT}}@media (prefers-color-scheme:dark){:root{${DARK}}}@media print{:root{${LIGHT}}}</style>`,
    ),
    title: `${model.name}: ${TITLES[command]}`,
    hash: await scriptHash(),
    header: html`<p>${model.modelType}, ${model.layers} layers, ${count(model.parameters)} parameters
(${count(model.decoderLinears)} in the decoder linears). fasp ${result.fasp}, ${result.created.slice(0, 10)}.</p>
<nav aria-label="Contents"><ul>${sections.map(({ id, title }) => html`<li><a href="#${id}">${title}</a></li>`)}</ul></nav>`,
    main: [
      ...tiles(result),
      ...sections.map(
        ({ id, title, content }) =>
          html`<section aria-labelledby="${id}"><h2 id="${id}">${title}</h2>${content}</section>`,
      ),
    ],
  }
  return page.replace(/\{\{(\w+)\}\}/g, (_, name) => render(fields[name]))
}

/** Of the script as it stands in the page: the only one that its policy lets run. */
async function scriptHash(): Promise<string> {
  const script = /<script type="module">([\s\S]*)<\/script>/.exec(page)![1]
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(script))
  return `sha256-${btoa(String.fromCharCode(...new Uint8Array(digest)))}`
}

/** Those that have something in them are shown. */
function sectionsOf(result: ResultFile): Section[] {
  const pruned = prunedRuns(result)
  const many = pruned.length > 1
  const figures = (charts: readonly Chart[]) => charts.map(figure)
  const layers = pruned.map(run => {
    const charts = figures(layerCharts(run))
    const same = tables(layerTable(run), sensitivityTable(run))
    return many
      ? folded(`${runLabel(run)}: widths, errors, sensitivity`, [...charts, ...same])
      : html`${charts}${folded('The same in tables', same)}`
  })
  const perplexities = beside(tables(...textTables(result), wordsTable(result), lossTable(result)))
  const failed = filled([failuresTable(result)]).map(table => tableHtml(table, 'text'))
  const seconds = tables(secondsTable(result), ...engineTables(result))
  return [
    ['perplexity', 'Perplexity', figures(many ? perplexityCharts(result) : []), perplexities],
    ['healing', 'Healing', figures(healingCharts(result)), tables(...healingTables(result))],
    ['tasks', 'Zero-shot tasks', figures(many ? accuracyCharts(result) : []), tables(...tasksTables(result))],
    ['size', 'Size', tables(sizesTable(result), exportsTable(result)), failed],
    ['layers', 'Layers', layers],
    ['texts', 'What the models write', samples(result)],
    ['time', 'Time', folds('Seconds by phase, and of the engine by kind of graph', seconds)],
    ['run', 'How it was made', about(result, pruned)],
  ]
}

const tables = (...all: readonly Table[]): Html[] => filled(all).map(table => tableHtml(table))

/** What a reader wants first. */
function tiles(result: ResultFile): Html[] {
  const found = tilesOf(result).map(
    ({ name, value, more }) => html`<div><dt>${name}</dt><dd>${value}<small>${more}</small></dd></div>`,
  )
  return found.length > 0 ? [html`<dl class="figures">${found}</dl>`] : []
}

const figure = ({ title, note, svg }: Chart): Html =>
  html`<figure><figcaption><h3>${title}</h3>${note}</figcaption>
${scrolling(`Chart: ${title}`, new Html(svg))}</figure>`

/** What may be wider than the screen; by keyboard, too. */
const scrolling = (name: string, content: Html): Html =>
  html`<div class="scroll" role="region" tabindex="0" aria-label="${name}">${content}</div>`

/** @param cells what stands in them, where that is more than text */
function tableHtml(
  { title, note, rows: [head, ...rows], names = 1 }: Table,
  kind = '',
  cells: (text: string, row: number, column: number) => Content = text => text,
): Html {
  const body = rows.map((row, r) => {
    const texts = row.slice(names).map((text, c) => html`<td>${cells(text, r, c)}</td>`)
    return html`<tr>${row.slice(0, names).map(name => html`<th scope="row">${name}</th>`)}${texts}</tr>
`
  })
  const table = html`<table class="${kind}" aria-label="${title}">
<thead><tr>${head.map(name => html`<th scope="col">${name}</th>`)}</tr></thead>
<tbody>${body}</tbody></table>`
  const caption = html`<p class="caption"><b>${title}</b>${note ? html`. ${note}` : ''}</p>`
  return html`<div class="table">${caption}${scrolling(`Table: ${title}`, table)}</div>`
}

/** Tables that share a line where there is room. */
const beside = (tables: readonly Html[]): Html[] =>
  tables.length > 0 ? [html`<div class="beside">${tables}</div>`] : []

/** `folded`, where there is something. */
const folds = (summary: string, content: readonly Html[]): Html[] =>
  content.length > 0 ? [folded(summary, content)] : []

const folded = (summary: string, content: readonly Html[]): Html =>
  html`<details><summary>${summary}</summary>${content}</details>`

/** Each text after its prompt, with a mark where it leaves what the dense model writes. */
function samples({ runs }: ResultFile): Html[] {
  const dense = new Map(runs.find(isDense)?.samples.map(sample => [asked(sample), sample.text]))
  const chats = new Set(runs.flatMap(run => run.samples.filter(({ chat }) => chat).map(asked)))
  return filled([sampleTable({ runs })]).map(table => {
    const { rows, names = 1 } = table
    const [head, ...body] = rows
    const isAcross = head[0] === 'model'
    return tableHtml(table, 'text', (text, row, column) => {
      const prompt = isAcross ? head[names + column] : body[row][0]
      const same = commonWords(text, dense.get(prompt) ?? text)
      const [, space, word, rest] = /^(\s*)(\S*)(.*)$/s.exec(text.slice(same))!
      const shown = html`<span class="prompt">${prompt}${chats.has(prompt) ? '\n' : ''}</span>${text.slice(0, same)}`
      return html`${shown}${space}${word ? html`<mark>${word}</mark>` : ''}${rest}`
    })
  })
}

/** Length of the words that both begin with. */
function commonWords(a: string, b: string): number {
  if (a === b) return a.length
  let same = 0
  while (same < a.length && a[same] === b[same]) same++
  return a.slice(0, same).search(/\s*\S*$/)
}

function about(result: ResultFile, pruned: readonly PrunedRun[]): Html[] {
  const { protocol, evaluation } = result
  const { text = [], tasks = [] } = protocol ?? evaluation ?? {}
  const hashes = [...text, ...tasks, ...(protocol?.calibration ?? [])].map(({ file, sha256 }) => [file, sha256])
  const read = { title: 'Texts and tasks', rows: [['file', 'SHA-256'], ...hashes] }
  return [
    html`${madeLines(result).map(text => html`<p>${text}.</p>`)}`,
    ...notices(result),
    ...(evaluation?.dense === undefined ? [] : [html`<p>Distances are from ${evaluation.dense}.</p>`]),
    ...folds('What was read', tables(read)),
    ...filled([calibrationTable(pruned)]).map(table => tableHtml(table, 'text')),
    ...folds('All options', tables(optionsTable(pruned))),
  ]
}

/** Each notice once, after the runs that gave it. */
function notices({ runs }: ResultFile): Html[] {
  const told = new Map<string, string[]>()
  for (const run of runs)
    for (const notice of new Set([...(run.prune?.notices ?? []), ...(run.notices ?? [])]))
      told.set(notice, [...(told.get(notice) ?? []), runLabel(run)])
  const items = [...told].map(([notice, labels]) => html`<li>${labels.join(', ')}: ${notice}</li>`)
  return items.length > 0 ? [html`<h3>Notices</h3><ul>${items}</ul>`] : []
}

function calibrationTable(runs: readonly PrunedRun[]): Table {
  const of = (run: Run) => run.prune!.calibration
  return runTable({ title: 'Calibration' }, runs, [
    ['source', run => (of(run).source === 'self' ? 'written by the model' : of(run).source)],
    [
      'texts',
      run =>
        of(run)
          .texts.map(({ name, used }) => `${name} (${used} windows)`)
          .join(', '),
    ],
    ['tokens a window', run => String(of(run).seqLen)],
  ])
}

function optionsTable(runs: readonly PrunedRun[]): Table {
  const values = runs.map(run => new Map<string, unknown>(Object.entries(run.prune.options)))
  const names = [...new Set(values.flatMap(of => [...of.keys()]))]
  const rows = names.map(name => [name, ...values.map(of => String(of.get(name) ?? ''))])
  return { title: 'Options', rows: [['option', ...runs.map(runLabel)], ...rows] }
}
