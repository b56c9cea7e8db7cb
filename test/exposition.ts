// Prometheus' text format, version 0.0.4, read by its rules (prometheus.io/docs/instrumenting/exposition_formats).
import { createServer } from 'node:net'

export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/
const SAMPLE = /^([^\s{]+)(?:\{(.*)\})? (\S+)$/
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/y

/** @throws Error for what the format, or its rules of names, do not allow */
export function parseExposition(text: string): Sample[] {
  if (text !== '' && !text.endsWith('\n')) throw new Error('the last line has no end')
  const types = new Map<string, string>()
  const samples: Sample[] = []
  for (const line of text.split('\n').slice(0, -1)) {
    const [, keyword, name, rest] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? []
    if (keyword === 'TYPE') {
      if (types.has(name) || samples.some(one => one.name === name))
        throw new Error(`${name} has a type twice, or late`)
      if (!/^(counter|gauge)$/.test(rest)) throw new Error(`${name} is a ${rest}`)
      if ((rest === 'counter') !== name.endsWith('_total')) throw new Error(`${name} is a ${rest}`)
      types.set(name, rest)
    }
    if (keyword) continue
    const sample = SAMPLE.exec(line)
    if (!sample) throw new Error(`not a sample: ${line}`)
    const [, of, labels = '', value] = sample
    if (!NAME.test(of) || !types.has(of)) throw new Error(`${of} has no type`)
    samples.push({ name: of, labels: labelsOf(labels), value: Number(value) })
    if (Number.isNaN(samples.at(-1)!.value)) throw new Error(`no number: ${line}`)
  }
  const known = samples.map(({ name, labels }) => JSON.stringify([name, labels]))
  if (new Set(known).size < known.length) throw new Error('one is there twice')
  return samples
}

function labelsOf(text: string): Record<string, string> {
  const labels: Record<string, string> = {}
  for (LABEL.lastIndex = 0; LABEL.lastIndex < text.length; ) {
    const label = LABEL.exec(text)
    if (!label) throw new Error(`no labels: ${text}`)
    labels[label[1]] = label[2].replace(/\\(.)/g, (_, c) => (c === 'n' ? '\n' : c))
  }
  return labels
}

/** What is served at `url` while `isDone` is not; what cannot be had is left out. */
export async function scraped(url: string, isDone: () => boolean): Promise<Sample[][]> {
  const all: Sample[][] = []
  while (!isDone()) {
    const text = await fetch(url).then(
      response => response.text(),
      () => undefined,
    )
    if (text !== undefined) all.push(parseExposition(text))
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  return all
}

/** A port that nothing listens at. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise(resolve => server.close(resolve))
  return port
}
