// What elimination and solves of a wide layer take of each rank, over all of them and of the root alone, in turns: seconds of the clock and of
// the processor, bytes. Over 8 machines of 10 Gb Ethernet it pays from some 9,300 columns on; here it is asked for at any size.
// usage: mpirun -n 2 node bench/ranks.mjs [COLUMNS [OUTPUTS]]
import { fileURLToPath } from 'node:url'
import { createServer } from 'vite'

const [n = 6144, out = 1024] = process.argv.slice(2).map(Number)
const ROUNDS = 2
const root = fileURLToPath(new URL('..', import.meta.url))
const server = await createServer({
  ...{ root, configFile: false, appType: 'custom', logLevel: 'error' },
  ...{ server: { middlewareMode: true, ws: false }, optimizeDeps: { noDiscovery: true } },
})
const load = path => server.ssrLoadModule(`/src/${path}`)
const { openGroup } = await load('group/open.node.ts')
const { openEngine } = await load('engine/engine.node.ts')
const { solvesOver } = await load('group/solves.ts')
const { eliminate } = await load('select/eliminate.ts')
const { restoreColumns } = await load('restore/least-squares.ts')

const group = openGroup(process.env.FASP_MPI ?? 'auto')
const engine = openEngine({ threads: 1 })
const random = length => Float32Array.from({ length }, () => Math.random() - 0.5)
const gram = random(group.rank === 0 ? n * n : 0)
for (let i = 0; i < Math.sqrt(gram.length); i++) {
  for (let j = 0; j < i; j++) gram[i * n + j] = gram[j * n + i]
  gram[i * (n + 1)] += n / 3
}
const statistics = { width: n, tokens: n, gram, mean: new Float64Array(n) }
const weight = random(group.rank === 0 ? out * n : 0)
const columns = Array.from({ length: n }, (_, j) => [j])
const options = { damp: 0.01, center: false, restore: true, layer: 'made' }

/** @param outputs as `GroupOptions` has it */
async function measure(name, outputs) {
  const over = new Proxy(group, {
    get: (of, key) => (key === 'outputs' ? outputs : typeof of[key] === 'function' ? of[key].bind(of) : of[key]),
  })
  const shares = solvesOver(engine, over)
  await group.barrier()
  const [started, processor, bytes] = [performance.now(), process.cpuUsage(), group.bytes]
  const { kept } = await over.decide(() =>
    eliminate(shares, weight, statistics, columns, Math.round(0.7 * n), { ...options, shrinkage: 0.01 }),
  )
  await over.decide(async () => void (await restoreColumns(shares, { weight }, statistics, kept, options)))
  const { user, system } = process.cpuUsage(processor)
  const own = { wall: (performance.now() - started) / 1000, cpu: (user + system) / 1e6, bytes: group.bytes - bytes }
  const all = await group.gather(own)
  if (group.rank > 0) return kept
  for (const [rank, { wall, cpu, bytes }] of all.entries())
    console.log(
      `${name} rank ${rank}: ${wall.toFixed(1)} s, ${cpu.toFixed(1)} s of the processor, ${bytes / 1e6} MB sent`,
    )
  return kept
}

for (let round = 0; round < ROUNDS; round++) {
  const alone = await measure('root alone', Number.POSITIVE_INFINITY)
  const shared = await measure('over ranks', 64)
  const other = alone.filter(column => !shared.includes(column)).length
  if (group.rank === 0) console.log(`${other} of ${alone.length} columns kept are others`)
}
await engine.close()
await group.close()
await server.close()
process.exit()
