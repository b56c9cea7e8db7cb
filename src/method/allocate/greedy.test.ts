import fc from 'fast-check'
import { expect, test } from 'vitest'
import { greedyWidths, type WidthCurve } from './greedy.ts'

/** Curves with steps of equal size, whose costs grow by the given increments. */
const curveOf = (unit: number, increments: readonly number[]): WidthCurve => ({
  unit,
  points: [0, ...increments].map((_, i) => ({
    width: increments.length - i,
    cost: increments.slice(0, i).reduce((sum, v) => sum + v, 0),
  })),
})
const costOf = ({ points }: WidthCurve, width: number) => points.find(p => p.width === width)!.cost
const removedBy = (curves: readonly WidthCurve[], widths: readonly number[]) =>
  curves.reduce((sum, { unit, points }, i) => sum + unit * (points[0].width - widths[i]), 0)

test('on convex curves nothing that removes as much costs less (all choices tried)', () => {
  const increments = fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 3, maxLength: 3 })
  fc.assert(
    fc.property(fc.array(increments, { minLength: 2, maxLength: 4 }), fc.nat(), (all, target) => {
      const curves = all.map(steps =>
        curveOf(
          1,
          steps.toSorted((a, b) => a - b),
        ),
      )
      const most = 3 * curves.length
      const wanted = target % (most + 1)
      const widths = greedyWidths(curves, wanted)
      expect(removedBy(curves, widths)).toBe(wanted)
      const cost = widths.reduce((sum, width, i) => sum + costOf(curves[i], width), 0)
      for (let choice = 0; choice < 4 ** curves.length; choice++) {
        const other = curves.map((_, i) => Math.floor(choice / 4 ** i) % 4)
        if (removedBy(curves, other) !== wanted) continue
        expect(cost).toBeLessThanOrEqual(other.reduce((sum, width, i) => sum + costOf(curves[i], width), 0) + 1e-9)
      }
    }),
  )
})

test('goes along the hull: a step that is dear at first and cheap after is taken whole', () => {
  const bumpy = curveOf(1, [10, 0, 0, 0]) // 2.5 a step
  const smooth = curveOf(1, [3, 3, 3, 3])
  expect(greedyWidths([bumpy, smooth], 4)).toEqual([0, 4])
  expect(greedyWidths([bumpy, smooth], 6)).toEqual([0, 2])
})

test('counts cost per parameter, and ends as near to the target as the widths allow', () => {
  const wide = curveOf(100, [10, 10])
  const narrow = curveOf(1, [1, 1])
  expect(greedyWidths([wide, narrow], 100)).toEqual([1, 2])
  expect(greedyWidths([wide, narrow], 140)).toEqual([1, 2])
  expect(greedyWidths([wide, narrow], 160)).toEqual([0, 2])
  expect(greedyWidths([wide, narrow], 0)).toEqual([2, 2])
  expect(greedyWidths([wide, narrow], 202)).toEqual([0, 0])
})
