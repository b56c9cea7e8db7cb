// `--device auto`: a real GPU where one is and computes what the CPU does, else the CPU. ONNX Runtime does not say which adapter it takes for
// WebGPU, so that one is taken only where all that it could take are real.

import type { Device } from '../engine/device.ts'
import { type Adapter, isReal } from '../native/adapter.ts'
import type { Found } from './found.ts'

/** Looks at this machine when it is asked to. */
export interface Looks {
  readonly platform: string
  /** Whether CUDA's provider is there. */
  cuda(): Promise<boolean>
  /** What Vulkan has, with or without drivers that are known to be software. */
  vulkan(software: boolean): Promise<Found<readonly Adapter[]>>
  /** Files by which the system offers GPUs. */
  nodes(): readonly string[]
  /** Tries a product, with such drivers out of sight, and holds it against the CPU's. */
  product(device: Device): Promise<Found<unknown>>
}

export interface Choice {
  readonly device: Device
  readonly why: string
}

/** @param beside what was asked for that works beside the CPU alone, as `--blas` */
export async function chooseDevice(looks: Looks, beside?: string): Promise<Choice> {
  const against: string[] = []
  const cpu = (): Choice => ({ device: 'cpu', why: against.join('; ') })
  if (beside) {
    against.push(`${beside} works on the CPU`)
    return cpu()
  }
  if (await looks.cuda()) {
    const { problem } = await looks.product('cuda')
    if (problem === undefined) return { device: 'cuda', why: AGREES }
    against.push(problem)
  }
  const gpu = await realGpu(looks)
  if (gpu.found === undefined) {
    against.push(gpu.problem)
    return cpu()
  }
  const { problem } = await looks.product('webgpu')
  if (problem === undefined) return { device: 'webgpu', why: `${gpu.found}; ${AGREES}` }
  against.push(`${gpu.found}, but ${problem}`)
  return cpu()
}

const AGREES = 'a product there agrees with the CPU’s'

/** What there is, where WebGPU can take nothing but a real GPU. */
async function realGpu(looks: Looks): Promise<Found<string>> {
  if (looks.platform === 'darwin') return { found: 'Metal, which has no adapter in software' }
  if (looks.platform !== 'linux')
    return { problem: 'ONNX Runtime does not say whether its adapter here is a GPU, and Windows has one in software' }
  const { found, problem } = await looks.vulkan(false)
  if (found === undefined) return { problem: `${problem}${offered(looks)}` }
  if (found.length === 0) {
    const { found: software = [] } = await looks.vulkan(true)
    return {
      problem: software.length > 0 ? `Vulkan has no GPU, only ${names(software)}` : `no GPU by Vulkan${offered(looks)}`,
    }
  }
  if (found.every(isReal)) return { found: names(found) }
  const unsure = names(found.filter(one => !isReal(one)))
  return { problem: `ONNX Runtime does not say which adapter it takes, and ${unsure} may be no real GPU` }
}

const names = (adapters: readonly Adapter[]): string =>
  [...new Set(adapters.map(({ name, type }) => `${name}, ${type}`))].join('; ')

/** A GPU without a driver is there, and nothing can be told of it but that. */
function offered(looks: Looks): string {
  const nodes = looks.nodes()
  return nodes.length > 0 ? `, though the system has ${nodes.join(', ')}: install its Vulkan driver` : ''
}
