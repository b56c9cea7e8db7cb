// `--metrics`: how a run gets on, for Prometheus to fetch while it works (text format 0.0.4 of its exposition formats).
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { UsageError } from '../errors.ts'
import type { Group } from '../node.ts'
import { VERSION } from '../version.ts'
import type { OptionSpec } from './arguments.ts'
import { peakMemory } from './environment.ts'
import { PhaseCourse, watchProgress } from './progress.ts'

export const METRICS_OPTIONS = {
  metrics: {
    type: 'text',
    value: 'port',
    rare: true,
    help: 'for Prometheus while it works: a port of this machine, or host:port',
  },
} as const satisfies Record<string, OptionSpec>

const LOOPBACK = '127.0.0.1'

/**
 * Serves `/metrics` until it is disposed of: of the root, where there are several ranks.
 * @param at `[host:]port`; 0 is any that is free, which is said on stderr. Undefined: nothing is served
 * @throws UsageError for what is no address, or one that cannot be had
 */
export async function serveMetrics(at: string | undefined, group: Group): Promise<AsyncDisposable | undefined> {
  if (at === undefined || group.rank > 0) return undefined
  const [, , bracketed, plain, digits] = /^((?:\[([^\]]+)\]|([^:]+)):)?(\d+)$/.exec(at) ?? []
  const port = Number(digits)
  if (digits === undefined || port > 65535)
    throw new UsageError(`--metrics is "${at}"; it must be a port from 0 to 65535, or host:port, as 0.0.0.0:9100.`)
  const host = bracketed ?? plain ?? LOOPBACK
  const course = new PhaseCourse()
  const server = createServer((request, response) => {
    const found = request.url === '/metrics' && (request.method === 'GET' || request.method === 'HEAD')
    response.writeHead(found ? 200 : 404, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' })
    response.end(found ? metricsText(course, group) : 'It is at /metrics.\n')
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', cause => reject(new UsageError(`--metrics ${at}: ${(cause as Error).message}`, { cause })))
    server.listen(port, host, resolve)
  })
  server.unref()
  const stopWatching = watchProgress(event => course.see(event))
  const { port: found } = server.address() as AddressInfo
  if (port === 0) process.stderr.write(`Metrics: http://${host.includes(':') ? `[${host}]` : host}:${found}/metrics\n`)
  return {
    async [Symbol.asyncDispose]() {
      stopWatching()
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
  }
}

/** One family of metrics: name, type, what it is, and its values by labels. */
type Family = readonly [
  name: string,
  type: 'gauge' | 'counter',
  help: string,
  values: readonly (readonly [labels: Readonly<Record<string, string | number>>, value: number | undefined])[],
]

/** @param group with what its ranks last said of themselves */
export function metricsText(course: PhaseCourse, { facts: told, bytes }: Pick<Group, 'facts' | 'bytes'>): string {
  const { phase, unit, done, total, tokensPerSecond } = course
  const [own = { waited: 0 }, ...others] = told
  const ranks = [{ ...own, sent: bytes, memory: peakMemory() }, ...others]
  const ofRanks = (of: (one: (typeof ranks)[number]) => number | undefined) =>
    ranks.map((one, rank) => [{ rank }, of(one)] as const)
  const families: Family[] = [
    ['fasp_info', 'gauge', 'Version that runs.', [[{ version: VERSION }, 1]]],
    ['fasp_phase_done', 'gauge', 'What is done of the phase.', phase ? [[{ phase, unit }, done]] : []],
    ['fasp_phase_size', 'gauge', 'What there is to do in the phase.', phase ? [[{ phase, unit }, total]] : []],
    [
      'fasp_layer',
      'gauge',
      'Layers that the phase has gone through.',
      unit === 'layers' && phase ? [[{ phase }, done]] : [],
    ],
    ['fasp_tokens_per_second', 'gauge', 'Of the phase, through the whole model.', [[{}, tokensPerSecond]]],
    ['fasp_sent_bytes_total', 'counter', 'Bytes sent to other ranks.', ofRanks(({ sent }) => sent)],
    ['fasp_waiting_seconds_total', 'counter', 'Time spent waiting for other ranks.', ofRanks(({ waited }) => waited)],
    ['fasp_peak_memory_bytes', 'gauge', 'Resident memory at its peak.', ofRanks(({ memory }) => memory)],
  ]
  return families
    .flatMap(([name, type, help, values]) => {
      const known = values.filter(([, value]) => value !== undefined)
      if (known.length === 0) return []
      const lines = known.map(([labels, value]) => `${name}${labelsText(labels)} ${value}\n`)
      return [`# HELP ${name} ${help}\n`, `# TYPE ${name} ${type}\n`, ...lines]
    })
    .join('')
}

const labelsText = (labels: Readonly<Record<string, string | number>>) => {
  const all = Object.entries(labels).map(
    ([name, value]) => `${name}="${`${value}`.replace(/[\\"\n]/g, c => (c === '\n' ? '\\n' : `\\${c}`))}"`,
  )
  return all.length > 0 ? `{${all.join(',')}}` : ''
}
