// Which devices a suite tests on. `unit` tests on the CPU alone. `machine` tests on what FASP_PLACES of vitest.config.ts names: WebGPU, which
// needs a Vulkan driver on Linux (Mesa's software driver will do), and a BLAS; .ci/machine.sh installs both. A place that is named and missing
// fails. Files named *.devices.test.ts run in both suites.
import { existsSync } from 'node:fs'
import * as runtime from 'onnxruntime-node'
import { afterAll, beforeAll, describe, test, vi } from 'vitest'
import type { Device } from '../src/engine/device.ts'
import { createEngine, type Engine, type EngineOptions, values } from '../src/engine/engine.ts'
import { nativeOn } from '../src/engine/native.node.ts'
import { RUNTIME_VERSION } from '../src/engine/ort/package.node.ts'
import { Graph } from '../src/formats/onnx.ts'
import { openEngine } from '../src/node.ts'

/** Where to test, with the reason why it cannot be used, if it cannot. */
export interface Place {
  readonly device: Device
  readonly blas?: 'auto' | false
  /** Whether graphs go through the binding of onnxruntime-node where they need not. */
  readonly binding?: true
  readonly missing?: unknown
}

/** The npm package has no CUDA libraries; someone may have put them beside it. */
export const CUDA = existsSync(
  new URL(
    './bin/napi-v6/linux/x64/libonnxruntime_providers_cuda.so',
    import.meta.resolve('onnxruntime-node/package.json'),
  ),
)

const PLACES = (process.env.FASP_PLACES ?? 'cpu').split(' ')
/** Whether this suite tests on a place: `cpu`, `webgpu`, `cuda`, `blas` or `openvino`. */
export const isWanted = (place: string): boolean => PLACES.includes(place)

/** The CPU by ONNX Runtime alone. */
export const CPU: Place = { device: 'cpu', blas: false }

/** Devices, by ONNX Runtime alone. */
export async function devices(): Promise<Place[]> {
  const all: Device[] = isWanted('cuda') ? ['cpu', 'webgpu', 'cuda'] : ['cpu', 'webgpu']
  return Promise.all(all.map(async device => ({ device, blas: false, missing: await probe(device, { device }) })))
}

/** The CPU with a BLAS library of this machine. */
export async function withBlas(): Promise<Place> {
  return { device: 'cpu', blas: 'auto', missing: await probe('blas', { blas: 'auto' }) }
}

/** The CPU through the binding, where graphs go through the C interface otherwise. */
export const withBinding: Place[] = process.platform === 'linux' ? [{ ...CPU, binding: true }] : []

/** The CPU, taken for a device with a memory of so many bytes of its own; on Linux only. @param append told of each session there */
export function takenForDevice(bytes = 1e9, append = () => {}): Engine {
  const graphs = nativeOn({ device: 'webgpu', memory: 'Cpu', append }, RUNTIME_VERSION, bytes)!
  return createEngine(runtime, {}, { graphs })
}

/** Engines by what they are: on the CPU, and where there is one, that which is taken for a device. */
export function ownMemories(): Record<string, Engine> {
  const engines: Record<string, Engine> = { 'on the CPU': openEngine() }
  if (process.platform === 'linux') engines['where rows stay on a device'] = takenForDevice()
  afterAll(async () => {
    for (const engine of Object.values(engines)) await engine.close()
  })
  return engines
}

/** `describe`, where the suite tests on this place; a failing test, where the place is missing. */
export function describeOn({ device, blas, binding, missing }: Place, name: string, suite: () => void) {
  if (!isWanted(blas ? 'blas' : device)) return
  const way = blas ? ' with a BLAS' : binding ? ' through the binding' : ''
  const full = `${name} on ${device}${way}`
  if (missing)
    test(full, () => {
      throw missing
    })
  else
    describe(full, () => {
      if (binding) {
        beforeAll(() => void vi.stubEnv('FASP_GRAPHS', 'binding'))
        afterAll(() => void vi.unstubAllEnvs())
      }
      suite()
    })
}

/** @returns why the place cannot be used, where the suite wants it and it cannot */
async function probe(place: string, options: EngineOptions): Promise<unknown> {
  if (!isWanted(place)) return undefined
  let engine: Engine | undefined
  const build = () => {
    const g = new Graph('probe')
    g.output('y', g.op('Neg', [g.input('x', 'float32', [1])]), 'float32', [1])
    return g
  }
  try {
    engine = openEngine(options)
    const one = values(Float32Array.of(1), [1])
    await engine.run('probe', build, { x: one }, { y: values(new Float32Array(1), [1]) })
    return undefined
  } catch (error) {
    return error
  } finally {
    await engine?.close()
  }
}
