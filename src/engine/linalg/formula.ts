// A formula over arrays as a graph of its own, whose inputs follow from the arrays: for what is computed where rows lie on a device.
import { elementType, Graph, type Value } from '../../formats/onnx.ts'
import type { Run } from '../graph-runtime.ts'
import type { Tensor, Values } from '../values.ts'

/**
 * Runs `results = formula(feeds)`.
 * @param name names all that the graph depends on beside the shapes and types of `feeds`, of which it may leave out some
 */
export async function runFormula<Feed extends string, Result extends string>(
  { run }: { readonly run: Run },
  name: string,
  feeds: Readonly<Record<Feed, Tensor | undefined>>,
  results: Readonly<Record<Result, Tensor>>,
  formula: (g: Graph, inputs: Readonly<Record<Feed, Value>>) => Readonly<Record<Result, Value>>,
): Promise<void> {
  const dimensions = (name: string, { shape }: Tensor) => shape.map((_, axis) => `${name}${axis}`)
  const build = () => {
    const g = new Graph(name)
    const inputs = {} as Record<Feed, Value>
    for (const key of Object.keys(feeds) as Feed[]) {
      const feed = feeds[key] as Values | undefined // as an engine makes tensors
      if (!feed) continue
      const type = feed.drop ? 'float32' : elementType(feed.data)
      inputs[key] = g.input(key, type, dimensions(key, feed))
    }
    const found = formula(g, inputs)
    for (const key of Object.keys(results) as Result[])
      g.output(key, found[key], 'float32', dimensions(key, results[key]))
    return g
  }
  await run(`rows ${name}`, build, feeds, results)
}
