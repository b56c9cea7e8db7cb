// How much to cut where: along the lower convex hulls of all curves, next the step that costs least per parameter
// removed. For convex curves this is the least total cost at every total that a step ends on (Everett, Operations
// Research 1963).

/** Costs of a half-block at its possible widths. */
export interface WidthCurve {
  /** Parameters of one unit of width. */
  readonly unit: number
  /** Descending widths, from the full one at cost 0. */
  readonly points: readonly WidthCost[]
}

export interface WidthCost {
  readonly width: number
  readonly cost: number
}

/**
 * The width on each curve, so that about `target` parameters go. `checkReach` makes sure that the curves can remove as
 * many.
 */
export function greedyWidths(curves: readonly WidthCurve[], target: number): number[] {
  const steps = curves
    .flatMap(({ unit, points }, curve) => {
      const hull = lowerHull(points)
      return hull.slice(1).map((to, i) => {
        const removed = unit * (hull[i].width - to.width)
        return { curve, to: to.width, removed, slope: (to.cost - hull[i].cost) / removed }
      })
    })
    .sort((a, b) => a.slope - b.slope || a.curve - b.curve || b.to - a.to)
  const widths = curves.map(({ points }) => points[0].width)
  let left = target
  for (const { curve, to, removed } of steps) {
    const { unit, points } = curves[curve]
    if (removed > left) {
      // Part of the last step: the nearest point.
      const reached = points.filter(p => p.width <= widths[curve] && p.width >= to)
      const miss = ({ width }: WidthCost) => Math.abs(unit * (widths[curve] - width) - left)
      widths[curve] = reached.reduce((best, p) => (miss(p) < miss(best) ? p : best)).width
      break
    }
    widths[curve] = to
    left -= removed
  }
  return widths
}

/** The points from which no line between two others is below. */
function lowerHull(points: readonly WidthCost[]): WidthCost[] {
  const hull: WidthCost[] = []
  const slope = (a: WidthCost, b: WidthCost) => (b.cost - a.cost) / (a.width - b.width)
  for (const point of points) {
    while (
      hull.length > 1 &&
      slope(hull[hull.length - 2], point) <= slope(hull[hull.length - 2], hull[hull.length - 1])
    )
      hull.pop()
    hull.push(point)
  }
  return hull
}
