// The engine over any package of ONNX Runtime. That of Node writes results into arrays that it is handed;
// onnxruntime-web gives results in arrays of its own, but for those in buffers of a GPU.
import type { InferenceSession, Tensor } from 'onnxruntime-common'
import { createEngine as createEngineOver, type Engine, type EngineParts, type Runtime } from '../engine/engine.ts'
import type { EngineOptions } from '../engine/options.ts'
import { DeviceMemory, roomOf } from '../engine/ort/memory.ts'
import { type WebGpuRuntime, WebGpuTensors } from '../engine/ort/webgpu.ts'

/** @param runtime `onnxruntime-web`, or `onnxruntime-node`, as `import * as ort` gives it */
export function createEngine(runtime: Runtime, options?: EngineOptions, parts: EngineParts = {}): Engine {
  const { doubles } = parts
  const room = roomOf(options?.deviceMemory)
  const isInPage = options?.device === 'webgpu' && !fillsOutputs(runtime)
  const memory = isInPage ? new DeviceMemory(new WebGpuTensors(runtime as Runtime & WebGpuRuntime), room) : undefined
  return createEngineOver(usable(runtime), options, { memory, ...parts, doubles: doubles && usable(doubles) })
}

const usable = (runtime: Runtime): Runtime => (fillsOutputs(runtime) ? runtime : filling(runtime))

const fillsOutputs = (runtime: Runtime & { readonly env?: { readonly versions?: { readonly node?: string } } }) =>
  runtime.env?.versions?.node !== undefined

/** The runtime with sessions that write into the outputs that they are given. */
const filling = ({ Tensor, InferenceSession }: Runtime): Runtime => ({
  Tensor,
  InferenceSession: {
    // It adds options of its own to `extra`, which all sessions share here.
    create: async (model, options) =>
      filled(await InferenceSession.create(model, { ...options, extra: { ...options?.extra } })),
  },
})

type Run = (
  feeds: InferenceSession.FeedsType,
  fetches?: InferenceSession.FetchesType,
) => ReturnType<InferenceSession['run']>

function filled(session: InferenceSession): InferenceSession {
  const run: Run = async (feeds, outputs) => {
    if (outputs === undefined) return await session.run(feeds)
    const given = Object.entries(outputs as Readonly<Record<string, Tensor>>)
    const isHere = ({ location }: Tensor) => location === 'cpu'
    const asked = Object.fromEntries(given.map(([name, tensor]) => [name, isHere(tensor) ? null : tensor]))
    const results = await session.run(feeds, asked)
    for (const [name, tensor] of given)
      if (isHere(tensor)) (tensor.data as Float32Array).set(results[name].data as Float32Array)
    return Object.fromEntries(given)
  }
  return Object.assign(Object.create(session), { run })
}
