import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { RUNTIME_VERSION } from './package.node.ts'
import { cudaProvider, providerOf } from './provider-libraries.node.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fasp-providers-'))
})
afterAll(() => rm(folder, { recursive: true }))
afterEach(() => void vi.unstubAllEnvs())

const PROVIDER = 'libonnxruntime_providers_cuda.so'
const runtime = `libonnxruntime.so.${RUNTIME_VERSION}`

async function packageIn(name: string, ...files: string[]): Promise<string> {
  const capi = join(folder, name, 'lib/python3.12/site-packages/onnxruntime/capi')
  await mkdir(capi, { recursive: true })
  for (const file of files) await writeFile(join(capi, file), '')
  return capi
}

test('CUDA’s provider is found beside Python’s packages, with the ONNX Runtime of its package', async () => {
  const capi = await packageIn('right', PROVIDER, runtime)
  vi.stubEnv('VIRTUAL_ENV', join(folder, 'right'))
  expect(cudaProvider()).toEqual({ path: join(capi, PROVIDER), isThere: true })
  expect(providerOf('cuda')).toMatchObject({ device: 'cuda', library: join(capi, runtime) })
})

test('not one of another version', async () => {
  const capi = await packageIn('other', PROVIDER, 'libonnxruntime.so.1.29.0')
  vi.stubEnv('VIRTUAL_ENV', join(folder, 'other'))
  const found = cudaProvider()
  expect(found.path.startsWith(folder)).toBe(false)
  expect(() => providerOf('cuda', join(capi, PROVIDER))).toThrow(
    `${PROVIDER} has no ${join(capi, runtime)} beside it. Take it from the Python package onnxruntime-gpu ${RUNTIME_VERSION}.`,
  )
})

test('a provider is a file that is there, and a GPU’s', async () => {
  expect(() => providerOf('webgpu', join(folder, 'none.so'))).toThrow(
    `provider: there is no ${join(folder, 'none.so')}.`,
  )
  expect(() => providerOf('cpu', folder)).toThrow('is for a GPU. Name its device: webgpu or cuda.')
  expect(providerOf('cpu')).toBeUndefined()
})
