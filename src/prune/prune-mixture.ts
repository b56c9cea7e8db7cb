// A mixture of experts: score → which stay → one expert after another is cut, repaired, written → the streams go on.
//   T  what the dense mixture makes of the pruned stream, or α of the way from there to the dense stream
//   Y  what the experts that stay make of it
// Each is repaired by the least squares of all FFNs (method/restore/least-squares.ts) towards what lacks, T − Y, on the
// tokens that go to it once the others are gone, its output counting times its gate: H̃ = g H. The next make up for
// what is left (block Gauss–Seidel). REAP (arXiv 2510.13999) chooses experts and repairs nothing; the repair is ours.
// Few tokens go to an expert: as many as it has neurons are added, from all of the layer, with the mean gate.
import type { Progress } from '../base/events.ts'
import { copyRows, type Values } from '../engine/engine.ts'
import { addRows, addTimes, drop, plusDistance, rowNorms, rowsAt } from '../engine/linalg/rows.ts'
import { pickRows, transposed } from '../engine/linalg/scatter.ts'
import { dot } from '../engine/linalg/sums.ts'
import { toFloat32 } from '../formats/dtype.ts'
import { rounded } from '../formats/encode.ts'
import type { Floats } from '../formats/tensors.ts'
import type { Route } from '../forward/routes.ts'
import { wholeOutput } from '../forward/runner.ts'
import type { Stream, StreamBatch } from '../forward/stream.ts'
import type { HalfWeights } from '../forward/weights.ts'
import { cut } from '../method/cut.ts'
import { ExpertScores } from '../method/score/reap.ts'
import { keepAll, selectKept } from '../method/select/selection.ts'
import { allColumns, keepTop } from '../method/select/top.ts'
import { GapAccumulator } from '../method/statistics/gap.ts'
import { GramAccumulator, type Statistics } from '../method/statistics/gram.ts'
import { expertHalf, type FfnHalf, hiddenSize, narrowedTo, narrows, withNeurons } from '../model/half-block.ts'
import { ALONE } from '../ranks/group.ts'
import type { HalfResult } from '../result/result.ts'
import { type PruneJob, pruneHalf, type Streams } from './prune-half.ts'

/** As `pruneHalf`, of a mixture. `kept` of the result are experts. */
export async function* pruneMixture(
  job: PruneJob,
  streams: Streams,
  original: HalfWeights,
): Progress<HalfResult | undefined> {
  const { engine, plan, options, writer, stages, group = ALONE } = job
  const { calibration, check } = streams
  const stream = calibration.pruned
  const { runner } = stream
  const half = original.half as FfnHalf
  const keep = plan.widths.after[plan.layers.after.indexOf(half.layer)]
  if (!narrows(half, keep) && !calibration.dense) return yield* pruneHalf(job, streams, original)
  stages.start('statistics')
  const [d, width] = [hiddenSize(half), half.output.in]
  const alpha = options.target === 'dense' ? options.alpha : 0
  const target = await stream.fork()
  const reap = new ExpertScores(half.experts!.router.out)
  await target.through(original, async (e, outputs) => reap.add(e, await rowNorms(engine, outputs)))
  const energy = (await distance(target, stream)) || 1
  if (alpha > 0) {
    await calibration.throughDense(original)
    await target.change(async (t, batch) => addTimes(engine, t, alpha, await calibration.dense!.rows.at(batch), t))
  }
  stages.start('selection')
  const scores = await reap.finish(group)
  const stay = keepTop(scores, keep.experts ?? scores.length)
  if (stay.length < scores.length) yield { type: 'selected', half: half.experts!.router.name, scores, kept: stay }
  const router = pickRows(original.experts!.router.weight, stay, d)
  const fewer: HalfWeights = {
    ...original,
    half: narrowedTo(half, { ...keep, ffn: width }),
    experts: { router: { weight: router }, read: e => original.experts!.read(stay[e]) },
  }
  await writer.writeRouter(half, router)
  stages.start('statistics')
  const same = stay.length === scores.length && alpha === 0
  const given = await (same ? target : stream).fork()
  if (!same) await given.through(fewer)
  const lacking = async (y: Stream) => (await distance(y, target)) / energy
  let errorBefore = await lacking(given)
  const routed = new Map<StreamBatch, readonly Route[]>()
  await stream.read(async (x, batch) => void routed.set(batch, await runner.routes(fewer, x)))
  const pooled = await pooledRoute(stream, [...routed.values()].flat(), width)

  /** Of H̃ of one expert, and of what lacks. */
  const observe = async (expert: HalfWeights, e: number): Promise<Statistics> => {
    const gram = new GramAccumulator(runner.graphs, width)
    const gap = new GapAccumulator(engine, width, new Float32Array(d))
    const by = async (x: Values<Floats>, r: Route) => {
      const h = await runner.expertHidden(expert, r, x)
      await gram.add({ h, tokens: r.rows.length })
      return h
    }
    await stream.read(async (x, batch) => {
      const { rows } = routed.get(batch)![e]
      if (batch === stream.batches[0]) drop(await by(x, pooled))
      if (rows.length === 0) return
      const [y, t] = await Promise.all([given, target].map(async s => rowsAt(engine, await s.rows.at(batch), rows)))
      const h = await by(x, routed.get(batch)![e])
      await gap.add({ h, tokens: rows.length, x: y, y: t })
      drop(h, y, t)
    })
    const statistics = await gram.finish(group)
    return { ...statistics, gap: await gap.finish(statistics, new Float32Array(d * width), 1, group) } // Y has H̃ Wᵀ
  }

  const read = fewer.experts!.read
  const type = job.typeOf(`${half.output.name}.weight`)
  const left: { readonly kept: Int32Array; readonly bytes: Uint8Array<ArrayBuffer> }[] = []
  let damp = 0
  for (let e = 0; e < stay.length; e++) {
    const expert = await read(e)
    stages.start('statistics')
    const seen = { weights: expert, statistics: await observe(expert, e) }
    stages.start('repair')
    const cutting = () =>
      cut(engine, seen, {
        rotate: false,
        select: async of => (keep.ffn < width ? selectKept(engine, of, keep, options) : keepAll(expert.half)),
        restore: options,
        round({ weight }) {
          const { bytes, values } = rounded(`${expert.half.output.name}.weight`, weight, type)
          return { bytes, weight: values }
        },
      })
    const done = await group.decide(cutting, ({ weights: _, statistics: __, ...part }) => part)
    const { kept } = done.selected
    const { bytes } = done.output
    left.push({ kept, bytes })
    damp = Math.max(damp, done.damp, done.selected.damp)
    await given.change(async (y, batch) => {
      const route = routed.get(batch)![e]
      if (route.rows.length === 0) return
      const h = await runner.expertHidden(expert, route, await stream.rows.at(batch))
      const before = await runner.expertOutput(expert, wholeOutput(expert), h)
      const after = await runner.expertOutput(expert, done.pruned, h)
      await addRows(engine, y, route.rows, after, before)
      drop(h, before, after)
    })
    stages.start('writing')
    const place = { ...expertHalf(half, e), norms: {} } // written with the router
    await writer.writeOutput(place, kept, { weight: bytes }, seen.statistics)
    await writer.writeInputs({ ...expert, half: place }, kept, kept)
  }
  stages.start('losses')
  const pruned = (output: (expert: HalfWeights, e: number) => Floats): HalfWeights => ({
    ...fewer,
    half: narrowedTo(half, keep),
    experts: {
      ...fewer.experts!,
      async read(e) {
        const expert = await read(e)
        const { kept } = left[e]
        const inputs = expert.inputs.map(({ weight }) => ({ weight: pickRows(weight, kept, d) }))
        const own = withNeurons(expert.half as FfnHalf, kept.length)
        return { ...expert, half: own, inputs, output: { weight: output(expert, e) } }
      },
    },
  })
  if (keep.ffn < width) {
    const bare = await stream.fork()
    await bare.through(pruned(({ output: { weight } }, e) => transposed(transposed(weight, width, left[e].kept), d)))
    errorBefore = await lacking(bare)
    await bare.close()
  }
  const errorAfter = await lacking(given)
  await stream.change(async (x, batch) => copyRows(engine.run, await given.rows.at(batch), x))
  for (const one of [target, given]) await one.close()
  const repaired = pruned((_, e) => toFloat32(left[e].bytes, type))
  const heldOutError = await check?.passMixture(original, repaired, alpha)
  return { kept: [...stay], errorBefore, errorAfter, heldOutError, damp }
}

/** `‖X − Y‖²`, over all ranks */
async function distance(x: Stream, y: Stream): Promise<number> {
  const { engine, group } = x.context
  const sum = new Float64Array(1)
  await x.read(async (a, batch) => {
    sum[0] = await plusDistance(engine, sum[0], [a, await y.rows.at(batch)])
  })
  await group?.sum(sum)
  return sum[0]
}

/** As many rows of the first batch, of all ranks together, as an expert sees, with the mean square of the gates. */
async function pooledRoute({ batches, context }: Stream, routes: readonly Route[], neurons: number): Promise<Route> {
  const rows = allColumns(batches[0]?.tokens ?? 0)
  const squares = routes.reduce((sum, { gates }) => sum + dot(gates, gates), 0)
  const count = routes.reduce((sum, { gates }) => sum + gates.length, 0)
  const sums = Float64Array.of(squares, count, rows.length)
  await context.group?.sum(sums)
  return { rows, gates: new Float32Array(rows.length).fill(Math.sqrt((neurons * sums[0]) / sums[1] / sums[2])) }
}
