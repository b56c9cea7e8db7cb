// Which device a command computes on, and what `fasp inspect --devices` shows.
import { bytes, oneLine, wrap } from '../base/display.ts'
import { launchedBy } from '../base/launcher.ts'
import { chooseDevice, type Device, type DeviceChoice, type Devices } from '../node.ts'

/** Takes the device for a command, and says which in a line. @throws DeviceError where ONNX Runtime is missing */
export async function deviceOf({
  blas = 'none',
  products = 'float32',
}: {
  readonly blas?: string
  readonly products?: string
}): Promise<Device> {
  const beside = blas !== 'none' ? '--blas' : products === 'bf16' ? '--products bf16' : undefined
  const choice = await chooseDevice(beside)
  if (!launchedBy(process.env)?.rank) process.stderr.write(`${choiceText(choice)}\n`)
  return choice.device
}

const INDENT = 14

/** A paragraph for each kind, the choice of `--device auto` last. Names are those of drivers and libraries. */
export function devicesText(devices: Devices, columns: number): string {
  const { cpu, memory, runtime, blas, openvino, auto } = devices
  const { total, free, limit = total } = memory
  const { version, graphs, providers = [], folder = '', threads } = runtime.found ?? {}
  const opens = (device: 'webgpu' | 'cuda', { found, problem } = devices[device]) =>
    found ? `--device ${device} opens; attention runs ${found.attention}` : problem!
  const rows: readonly [string, ...string[]][] = [
    ['CPU', `${cpu.model}, ${cpu.cores} cores, ${cpu.platform}`],
    ['Memory', `${bytes(total)}, ${bytes(free)} of it free${limit < total ? `; limited to ${bytes(limit)}` : ''}`],
    ['ONNX Runtime', runtime.problem ?? `${version} (${graphs}) with ${providers.join(', ')}`, folder],
    ['Threads', threads ? `${threads} for an operator, unless --threads says otherwise` : 'one for each physical core'],
    ['BLAS', blas.auto.problem ?? `--blas auto takes ${blas.auto.found}`, `without --blas: ${blas.unasked ?? 'none'}`],
    ['OpenVINO', openvino.problem ?? `${openvino.found}, for --products bf16`],
    ['WebGPU', opens('webgpu')],
    ['CUDA', opens('cuda')],
  ]
  const paragraphs = rows.map(([name, ...lines]) => {
    const wrapped = lines.filter(line => line !== '').flatMap(line => wrap(oneLine(line), columns - INDENT).split('\n'))
    return wrapped.map((line, i) => `${(i === 0 ? name : '').padEnd(INDENT)}${line}`).join('\n')
  })
  return `${paragraphs.join('\n')}\n\n${wrap(choiceText(auto), columns)}`
}

export const choiceText = ({ device, why }: DeviceChoice): string =>
  oneLine(`--device auto takes ${device === 'cpu' ? 'the CPU' : device}: ${why}.`)
