// Which devices this machine has, for suites that run on each of them. WebGPU needs a Vulkan driver on Linux; Mesa's software driver will do
// (.ci/vulkan.sh installs it). With FASP_REQUIRE_WEBGPU=1, as in CI, a missing WebGPU is a failure; otherwise its suites are skipped and
// say so in their names. CUDA is looked for only with FASP_REQUIRE_CUDA=1.
import { describe, test } from 'vitest'
import type { Device } from '../src/engine/device.ts'
import { values } from '../src/engine/engine.ts'
import { Graph } from '../src/formats/onnx.ts'
import { openEngine } from '../src/node.ts'

const required = (device: Device) => process.env[`FASP_REQUIRE_${device.toUpperCase()}`] === '1'

/** Devices to test on: each with the reason why it cannot be used, if it cannot. */
export async function devices(): Promise<{ device: Device; missing?: unknown }[]> {
  const wanted: Device[] = required('cuda') ? ['cpu', 'webgpu', 'cuda'] : ['cpu', 'webgpu']
  return Promise.all(wanted.map(async device => ({ device, missing: await probe(device) })))
}

/** `describe`; for a device that is missing, a failing test where it is required, or else a visible skip. */
export function describeOn(
  { device, missing }: { device: Device; missing?: unknown },
  name: string,
  suite: () => void,
) {
  const full = `${name} on ${device}`
  if (!missing) return describe(full, suite)
  if (!required(device)) return describe.skip(`${full} (not on this machine)`, suite)
  test(full, () => {
    throw missing
  })
}

async function probe(device: Device): Promise<unknown> {
  const engine = openEngine({ device })
  const build = () => {
    const g = new Graph('probe')
    g.output('y', g.op('Neg', [g.input('x', 'float32', [1])]), 'float32', [1])
    return g
  }
  try {
    const one = values(Float32Array.of(1), [1])
    await engine.run('probe', build, { x: one }, { y: values(new Float32Array(1), [1]) })
    return undefined
  } catch (error) {
    return error
  } finally {
    await engine.close()
  }
}
