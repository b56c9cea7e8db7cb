// The report: one HTML page that needs nothing else, a pure function of the result. Charts are pictures in the page with the same figures
// in a table below; the one script copies tables and may be absent. What comes from outside (names, texts) is escaped wherever it goes,
// and the policy in the head lets the page load nothing and run nothing but that script.
import { count } from '../base/display.ts'
import { VERSION } from '../base/version.ts'
import { accuracyCharts, type Chart, healingCharts, layerCharts, perplexityCharts } from './charts.ts'
import { layerRows, sensitivityRows } from './layers.ts'
import { madeLines } from './made.ts'
import page from './page.html'
import { DARK, LIGHT, visible } from './plot.ts'
import { isDense, type PrunedRun, prunedRuns, type ResultFile, type Run } from './result-file.ts'
import {
  asked,
  engineTable,
  exportsTable,
  failuresTable,
  healingTables,
  lossTable,
  outsideTable,
  runLabel,
  runRows,
  sampleRows,
  secondsTable,
  sizesTable,
  type Table,
  tasksTables,
  textTables,
  wordsTable,
} from './tables.ts'
import { tilesOf } from './tiles.ts'

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
  ...{ compare: 'methods compared', eval: 'evaluation', prune: 'pruned', heal: 'healed after pruning' },
}

interface Section {
  readonly id: string
  readonly title: string
  readonly content: readonly Html[]
}

/** The report of a result as an HTML page. */
export async function reportHtml(result: ResultFile): Promise<string> {
  const { model, command } = result
  const sections = sectionsOf(result).filter(section => section.content.length > 0)
  const title = `${model.name}: ${TITLES[command]}`
  const fields: Readonly<Record<string, Content>> = {
    version: VERSION,
    palette: new Html(
      `<style>:root{${LIGHT}}@media (prefers-color-scheme:dark){:root{${DARK}}}@media print{:root{${LIGHT}}}</style>`,
    ),
    title,
    hash: await scriptHash(),
    header: html`<p>${model.modelType}, ${model.layers} layers, ${count(model.parameters)} parameters (${count(model.decoderLinears)} in the decoder linears). fasp ${result.fasp}, ${result.created.slice(0, 10)}.</p>
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

function sectionsOf(result: ResultFile): Section[] {
  const pruned = prunedRuns(result)
  const many = pruned.length > 1
  const layers = pruned.map(run => {
    const content = layerCharts(run).map(figure)
    const tables = [layerTable(run), ...sensitivityTables(run)].map(table => tableHtml(table))
    return many
      ? folded(`${runLabel(run)}: widths, errors, sensitivity`, [...content, ...tables])
      : html`${content}${folded('The same in tables', tables)}`
  })
  const tables = (...of: Table[]) => of.filter(table => table.rows.length > 1).map(table => tableHtml(table))
  const texts = (table: Table) => (table.rows.length > 1 ? [tableHtml(table, 'text')] : [])
  return [
    {
      id: 'perplexity',
      title: 'Perplexity',
      content: [
        ...(many ? perplexityCharts(result) : []).map(figure),
        ...beside(tables(...textTables(result), wordsTable(result), lossTable(result))),
      ],
    },
    {
      id: 'healing',
      title: 'Healing',
      content: [...healingCharts(result).map(figure), ...tables(...healingTables(result))],
    },
    {
      id: 'tasks',
      title: 'Zero-shot tasks',
      content: [...(many ? accuracyCharts(result) : []).map(figure), ...tables(...tasksTables(result))],
    },
    {
      id: 'size',
      title: 'Size',
      content: [...tables(sizesTable(result), exportsTable(result)), ...texts(failuresTable(result))],
    },
    { id: 'layers', title: 'Layers', content: layers },
    { id: 'texts', title: 'What the models write', content: samples(result.runs) },
    {
      id: 'time',
      title: 'Time',
      content: folds(
        'Seconds by phase, and of the engine by kind of graph',
        tables(secondsTable(result), engineTable(result.runs), outsideTable(result.runs)),
      ),
    },
    { id: 'run', title: 'How it was made', content: about(result, pruned) },
  ]
}

/** What a reader wants first. */
function tiles(result: ResultFile): Html[] {
  const found = tilesOf(result).map(
    ({ name, value, more }) => html`<div><dt>${name}</dt><dd>${value}<small>${more}</small></dd></div>`,
  )
  return found.length > 0 ? [html`<dl class="figures">${found}</dl>`] : []
}

const figure = ({ title, note, svg }: Chart): Html =>
  html`<figure><figcaption><h3>${title}</h3>${note}</figcaption>${scrolling(`Chart: ${title}`, new Html(svg))}</figure>`

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
  return html`<div class="table"><p class="caption"><b>${title}</b>${note ? html`. ${note}` : ''}</p>${scrolling(`Table: ${title}`, table)}</div>`
}

/** Tables that share a line where there is room. */
const beside = (tables: readonly Html[]): Html[] =>
  tables.length > 0 ? [html`<div class="beside">${tables}</div>`] : []

/** `folded`, where there is something. */
const folds = (summary: string, content: readonly Html[]): Html[] =>
  content.length > 0 ? [folded(summary, content)] : []

const folded = (summary: string, content: readonly Html[]): Html =>
  html`<details><summary>${summary}</summary>${content}</details>`

const layerTable = (run: PrunedRun): Table => ({
  title: `Layers of ${runLabel(run)}`,
  note: 'What stays of what was cut, and the squared output error over the squared output: without and with restoration on the windows calibrated on, and on windows held out.',
  rows: layerRows(run.prune),
})

const sensitivityTables = (run: PrunedRun): Table[] => {
  const rows = sensitivityRows(run.prune)
  if (rows.length < 2) return []
  const note = `Measured: KL to the dense model with only this half-block cut to the width given, on ${run.prune.allocation?.probeTokens} tokens.`
  return [{ title: `Allocation of ${runLabel(run)}`, note, rows }]
}

/** Each text after its prompt, with a mark where it leaves what the dense model writes. */
function samples(runs: readonly Run[]): Html[] {
  const { rows, names = 1 } = sampleRows(runs)
  if (rows.length < 2) return []
  const dense = new Map(runs.find(isDense)?.samples.map(sample => [asked(sample), sample.text]))
  const chats = new Set(runs.flatMap(run => run.samples.filter(({ chat }) => chat).map(asked)))
  const [head, ...body] = rows
  const across = head[0] === 'model'
  const written = (text: string, row: number, column: number) => {
    const prompt = across ? head[names + column] : body[row][0]
    const same = commonWords(text, dense.get(prompt) ?? text)
    const [, space, word, rest] = /^(\s*)(\S*)(.*)$/s.exec(text.slice(same))!
    return html`<span class="prompt">${prompt}${chats.has(prompt) ? '\n' : ''}</span>${text.slice(0, same)}${space}${word ? html`<mark>${word}</mark>` : ''}${rest}`
  }
  const note = 'The prompt in grey. Marked: the first word that the dense model does not write.'
  return [tableHtml({ title: 'Greedy continuations', note, rows, names }, 'text', written)]
}

/** Length of the words that both begin with. */
function commonWords(a: string, b: string): number {
  if (a === b) return a.length
  let same = 0
  while (same < a.length && a[same] === b[same]) same++
  return a.slice(0, same).search(/\s*\S*$/)
}

function about(result: ResultFile, pruned: readonly PrunedRun[]): Html[] {
  const told = new Map<string, string[]>() // notice → the runs that gave it
  for (const run of result.runs)
    for (const notice of new Set([...(run.prune?.notices ?? []), ...(run.notices ?? [])]))
      told.set(notice, [...(told.get(notice) ?? []), runLabel(run)])
  const names = [...new Set(pruned.flatMap(run => Object.keys(run.prune.options)))]
  const show = (value: unknown) => (value === undefined ? '' : String(value))
  const options = names.map(name => [
    name,
    ...pruned.map(run => show((run.prune.options as unknown as Record<string, unknown>)[name])),
  ])
  const texts = pruned.map((run): [PrunedRun, string[]] => {
    const { source, seqLen, texts } = run.prune.calibration
    const used = texts.map(({ name, used }) => `${name} (${used} windows)`).join(', ')
    return [run, [source === 'self' ? 'written by the model' : source, used, String(seqLen)]]
  })
  const { protocol, evaluation } = result
  const { text = [], tasks = [] } = protocol ?? evaluation ?? {}
  const read = [...text, ...tasks, ...(protocol?.calibration ?? [])]
  const hashes = read.map(({ file, sha256 }) => [file, sha256])
  return [
    html`${madeLines(result).map(text => html`<p>${text}.</p>`)}`,
    ...(told.size > 0
      ? [
          html`<h3>Notices</h3><ul>${[...told].map(([notice, runs]) => html`<li>${runs.join(', ')}: ${notice}</li>`)}</ul>`,
        ]
      : []),
    ...(evaluation?.dense === undefined ? [] : [html`<p>Distances are from ${evaluation.dense}.</p>`]),
    ...(hashes.length > 0
      ? [folded('What was read', [tableHtml({ title: 'Texts and tasks', rows: [['file', 'SHA-256'], ...hashes] })])]
      : []),
    ...(pruned.length > 0
      ? [
          tableHtml({ title: 'Calibration', ...runRows(['source', 'texts', 'tokens a window'], texts) }, 'text'),
          folded('All options', [
            tableHtml({ title: 'Options', rows: [['option', ...pruned.map(runLabel)], ...options] }),
          ]),
        ]
      : []),
  ]
}
