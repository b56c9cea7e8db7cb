// Which device `--device auto` takes, on machines that are made up, and what is shown of one.
import { expect, test } from 'vitest'
import { chooseDevice, type DeviceChoice, type Devices } from '../node.ts'
import { choiceText, devicesText } from './device.ts'

const choice = (platform: string, opens: readonly string[], beside?: string): Promise<DeviceChoice> =>
  chooseDevice(
    beside,
    async device => (opens.includes(device) ? { found: {} } : { problem: `no ${device} here` }),
    platform,
  )

test.each([
  ['CUDA', 'linux', ['cuda', 'webgpu'], 'cuda: it opens here.'],
  ['a Mac', 'darwin', ['webgpu'], 'webgpu: Metal, which has no driver in software, opens here.'],
  ['a Mac without Metal', 'darwin', [], 'the CPU: no webgpu here.'],
  ['WebGPU of a kind that is not told', 'linux', ['webgpu'], 'the CPU: CUDA does not open here'],
  ['the same on Windows', 'win32', ['webgpu'], 'ask for it by --device webgpu.'],
  ['nothing', 'linux', [], 'the CPU: CUDA does not open here'],
])('of %s', async (_, platform, opens, says) => {
  expect(choiceText(await choice(platform, opens))).toContain(says)
})

test('what works beside the CPU keeps it there, and nothing is opened', async () => {
  const open = () => {
    throw new Error('opened')
  }
  expect(await chooseDevice('--blas', open, 'darwin')).toEqual({ device: 'cpu', why: '--blas works on the CPU' })
})

/** A machine on which each driver and library has this name. */
function called(bad: string): Devices {
  const nothing = { problem: bad }
  return {
    cpu: { model: bad, cores: 2, platform: 'linux x64' },
    memory: { total: 8e9, free: 4e9, limit: 2e9 },
    ...{ runtime: nothing, openvino: { found: bad }, webgpu: { found: { attention: bad } }, cuda: nothing },
    blas: { unasked: bad, auto: { found: bad } },
    auto: { device: 'webgpu', why: bad },
  }
}

test('what drivers and libraries call themselves steers no terminal', () => {
  const devices = called('\u001b[2Jgood\u009b31m\r\nnews')
  const text = devicesText(devices, 80)
  expect(text.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u)
  expect(Math.max(...text.split('\n').map(line => line.length))).toBeLessThanOrEqual(80)
  expect(choiceText(devices.auto)).toBe('--device auto takes webgpu:  [2Jgood 31m news.')
  expect(text).toContain('limited to 2.00 GB')
})
