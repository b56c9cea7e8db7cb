// Which device `--device auto` takes, on machines that are made up, and what is shown of one.
import { expect, test } from 'vitest'
import type { Adapter } from '../native/adapter.ts'
import { chooseDevice, type Looks } from './choose.ts'
import type { Devices } from './devices.node.ts'
import type { Found } from './found.ts'
import { probe } from './probe.node.ts'
import { choiceText, devicesText } from './text.node.ts'

const adapter = (name: string, type: Adapter['type']): Adapter => ({
  name,
  type,
  ...{ memory: 8e9, free: 8e9 },
  binding: 2e9,
  numbers: [],
})
const RTX = adapter('NVIDIA GeForce RTX 4090', 'discrete')
const ARC = adapter('Intel(R) Arc(TM) Graphics', 'integrated')
const LLVMPIPE = adapter('llvmpipe (LLVM 19.1.7, 256 bits)', 'software')
const VIRTUAL = adapter('Virtio-GPU Venus (NVIDIA L4)', 'virtual')
const DISGUISED = adapter('Virtio-GPU Venus (llvmpipe)', 'integrated')

const WORKS: Found<unknown> = { found: { error: 1e-7 } }

interface Machine extends Partial<Omit<Looks, 'vulkan' | 'cuda'>> {
  readonly adapters?: readonly Adapter[]
  /** The loader knows how to leave a driver out. */
  readonly hides?: boolean
  readonly cuda?: boolean
}

function on({ adapters = [], hides = true, cuda = false, ...others }: Machine, tried: string[] = []): Looks {
  return {
    platform: 'linux',
    nodes: () => [],
    product: async () => WORKS,
    ...others,
    cuda: async () => cuda,
    vulkan: async software => {
      tried.push(software ? 'all' : 'without software')
      return { found: adapters.filter(({ type }) => software || !hides || type !== 'software') }
    },
  }
}

test.each<[string, Machine, string]>([
  ['a card', { adapters: [RTX] }, 'webgpu: NVIDIA GeForce RTX 4090, discrete; a product there agrees with the CPU’s'],
  ['a part of the processor', { adapters: [ARC] }, 'webgpu: Intel(R) Arc(TM) Graphics, integrated; a product there'],
  [
    'a card beside software that the loader leaves out',
    { adapters: [LLVMPIPE, RTX] },
    'webgpu: NVIDIA GeForce RTX 4090',
  ],
  [
    'software alone',
    { adapters: [LLVMPIPE] },
    'cpu: Vulkan has no GPU, only llvmpipe (LLVM 19.1.7, 256 bits), software',
  ],
  [
    'a card beside software that an old loader keeps',
    { adapters: [RTX, LLVMPIPE], hides: false },
    'cpu: ONNX Runtime does not say which adapter it takes, and llvmpipe (LLVM 19.1.7, 256 bits), software may be no real GPU',
  ],
  ['a virtual GPU', { adapters: [VIRTUAL] }, 'cpu: ONNX Runtime does not say which'],
  ['software under another type', { adapters: [DISGUISED] }, 'cpu: ONNX Runtime does not say which'],
  ['nothing', {}, 'cpu: no GPU by Vulkan'],
  [
    'a GPU without its driver',
    { nodes: () => ['/dev/dri/renderD128'] },
    'cpu: no GPU by Vulkan, though the system has /dev/dri/renderD128: install its Vulkan driver',
  ],
  [
    'a card that computes something else',
    { adapters: [RTX], product: async () => ({ problem: 'a product there is not the CPU’s: 0.48 off' }) },
    'cpu: NVIDIA GeForce RTX 4090, discrete, but a product there is not the CPU’s: 0.48 off',
  ],
  ['CUDA and its provider', { adapters: [RTX], cuda: true }, 'cuda: a product there agrees'],
  [
    'CUDA’s provider without CUDA',
    {
      adapters: [RTX],
      cuda: true,
      product: async device => (device === 'cuda' ? { problem: 'no libcublasLt' } : WORKS),
    },
    'webgpu: NVIDIA GeForce RTX 4090',
  ],
  ['a Mac', { platform: 'darwin' }, 'webgpu: Metal, which has no adapter in software'],
  [
    'Windows',
    { platform: 'win32', adapters: [RTX] },
    'cpu: ONNX Runtime does not say whether its adapter here is a GPU',
  ],
])('of %s', async (_, machine, says) => {
  const { device, why } = await chooseDevice(on(machine))
  expect(`${device}: ${why}`).toContain(says)
})

test('what works beside the CPU keeps it there, and nothing is looked for', async () => {
  const tried: string[] = []
  const choice = await chooseDevice(on({ adapters: [RTX], cuda: true }, tried), '--blas')
  expect(choice).toEqual({ device: 'cpu', why: '--blas works on the CPU' })
  expect(tried).toEqual([])
})

test('a driver that ends its process leaves ours alone', async () => {
  const NODE_OPTIONS = '--import=data:text/javascript,process.abort()'
  expect(await probe('vulkan', undefined, { env: { NODE_OPTIONS } })).toEqual({
    problem: 'it ends the process (SIGABRT)',
  })
})

/** Whose drivers and libraries call themselves so. */
function called(bad: string): Devices {
  const adapters = [adapter(bad, 'discrete')]
  const nothing = { problem: bad }
  return {
    cpu: { model: bad, cores: 2, platform: 'linux x64', features: [bad] },
    memory: { total: 8e9, free: 4e9, limit: 2e9 },
    ...{ runtime: nothing, openvino: nothing, mpi: { found: [{ library: bad, path: bad, name: bad }] } },
    blas: { found: { libraries: [{ library: bad, path: bad, name: bad }], unasked: bad, auto: nothing } },
    webgpu: { adapters: { found: adapters }, nodes: [bad], product: nothing },
    cuda: { cards: [bad], product: nothing },
    auto: { device: 'webgpu', why: bad },
  }
}

test.each(['right', 'wrong', 'not tried'] as const)('the operator of attention of a device: %s', attention => {
  const devices = called('good')
  const product = { found: { error: 1e-7, attention } }
  const text = devicesText({ ...devices, webgpu: { ...devices.webgpu, product } }, 200)
  expect(text).toContain(
    `--device webgpu works: a product agrees with the CPU’s; ONNX Runtime’s operator of attention is ${attention} there`,
  )
})

test('what drivers and libraries call themselves steers no terminal', () => {
  const devices = called('\u001b[2Jgood\u009b31m\r\nnews')
  const text = devicesText(devices, 80)
  expect(text.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u)
  expect(Math.max(...text.split('\n').map(line => line.length))).toBeLessThanOrEqual(80)
  expect(choiceText(devices.auto)).toBe('--device auto takes webgpu:  [2Jgood 31m news.')
  expect(text).toContain('limited to 2.00 GB')
})
