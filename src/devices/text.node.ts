// What `fasp inspect --devices` shows. Names are what drivers and libraries say.

import { bytes, oneLine, wrap } from '../display.ts'
import type { Device } from '../engine/device.ts'
import type { Adapter } from '../native/adapter.ts'
import type { Choice } from './choose.ts'
import type { Devices } from './devices.node.ts'
import type { Found } from './found.ts'

const INDENT = 14

/** A paragraph for each kind, the choice of `--device auto` last. */
export function devicesText(devices: Devices, columns: number): string {
  const { cpu, memory, runtime, blas, openvino, webgpu, cuda, mpi, auto } = devices
  const { total, free, limit = total } = memory
  const rows: [string, string[]][] = [
    [
      'CPU',
      [
        `${cpu.model}, ${cpu.cores} cores, ${cpu.platform}`,
        cpu.features?.join(' ') ?? 'its sets of instructions are not told here',
        ...(runtime.found?.threads ? [`an operator runs on ${runtime.found.threads} threads (--threads)`] : []),
      ],
    ],
    ['Memory', [`${bytes(total)}, ${bytes(free)} of it free${limit < total ? `; limited to ${bytes(limit)}` : ''}`]],
    [
      'ONNX Runtime',
      orProblem(runtime, ({ version, graphs, providers, folder }) => [
        `${version}${graphs ? ` (${graphs})` : ''} with ${providers.join(', ')}`,
        folder,
      ]),
    ],
    [
      'BLAS',
      orProblem(blas, ({ libraries, auto, unasked }) => [
        ...libraries.map(({ name, path }) => `${name}: ${path}`),
        `--blas auto takes ${auto.found ?? `none: ${auto.problem}`}`,
        `without --blas ${unasked ?? 'none'} is taken on this CPU`,
      ]),
    ],
    ['OpenVINO', orProblem(openvino, ({ name, path }) => [`${name}, for --products bf16: ${path}`])],
    [
      'WebGPU',
      [
        ...orProblem(webgpu.adapters, found => (found.length > 0 ? found.map(adapterText) : ['Vulkan has no adapter'])),
        ...(webgpu.nodes.length > 0 ? [`offered by the system: ${webgpu.nodes.join(', ')}`] : []),
        productText('webgpu', webgpu.product),
      ],
    ],
    [
      'CUDA',
      [
        ...cuda.cards,
        ...orProblem(runtime, ({ cuda }) => [`its provider is ${cuda.isThere ? '' : 'not '}there: ${cuda.path}`]),
        productText('cuda', cuda.product),
      ],
    ],
    [
      'MPI',
      orProblem(mpi, found => (found.length > 0 ? found.map(({ name, path }) => `${name}: ${path}`) : ['no library'])),
    ],
  ]
  const paragraphs = rows.map(([name, lines]) => {
    const wrapped = lines.flatMap(line => wrap(oneLine(line), columns - INDENT).split('\n'))
    return wrapped.map((line, i) => `${(i === 0 ? name : '').padEnd(INDENT)}${line}`).join('\n')
  })
  return `${paragraphs.join('\n')}\n\n${wrap(choiceText(auto), columns)}`
}

/** In one line. */
export const choiceText = ({ device, why }: Choice): string =>
  oneLine(`--device auto takes ${device === 'cpu' ? 'the CPU' : device}: ${why}.`)

const orProblem = <T>(of: Found<T>, show: (found: T) => string[]): string[] =>
  of.problem === undefined ? show(of.found) : [of.problem]

const adapterText = ({ name, type, memory, binding, numbers }: Adapter): string =>
  [
    `${name}, ${type}`,
    `${bytes(memory)} of ${type === 'discrete' ? 'its own' : 'shared'} memory`,
    `buffers of ${bytes(binding)}`,
    ...numbers,
  ].join(', ')

const productText = (device: Device, { problem, found }: Devices['webgpu']['product']): string =>
  problem ??
  `--device ${device} works: a product agrees with the CPU’s; ONNX Runtime’s operator of attention is ${found!.attention} there`
