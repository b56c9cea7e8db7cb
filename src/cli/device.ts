// `--device auto` of a command: the device is chosen before it runs, and said in a line.
import { autoDevice } from '../devices/devices.node.ts'
import { choiceText } from '../devices/text.node.ts'
import type { Device } from '../engine/device.ts'
import { launchedBy } from '../group/launcher.ts'
import type { Parsed } from './arguments.ts'
import type { PRUNING_OPTIONS } from './environment.ts'

/** @throws DeviceError where ONNX Runtime is missing */
export async function deviceOf(options: Parsed<typeof PRUNING_OPTIONS>, signal: AbortSignal): Promise<Device> {
  const { blas = 'none', products = 'float32' } = options
  const beside = blas !== 'none' ? '--blas' : products === 'bf16' ? '--products bf16' : undefined
  const choice = await autoDevice(beside, signal)
  if (!launchedBy(process.env)?.rank) process.stderr.write(`${choiceText(choice)}\n`)
  return choice.device
}
