// Places of ONNX Runtime's providers that are not in its npm package.
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { UsageError } from '../../base/errors.ts'
import { entries, packageFolders } from '../python-packages.node.ts'
import { BINARIES, onnxRuntime, RUNTIME_VERSION } from './package.node.ts'
import { DEVICE_PROVIDERS, type DeviceProvider, webgpuPlugin } from './providers.node.ts'

const CUDA = 'libonnxruntime_providers_cuda.so'

/** Libraries of CUDA's provider in onnxruntime-gpu 1.30, each after the libraries that it needs. */
const OF_CUDA = [
  'libcudart.so.13',
  'libnvJitLink.so.13',
  'libnvrtc.so.13',
  'libcublasLt.so.13',
  'libcublas.so.13',
  'libcurand.so.10',
  'libcufft.so.12',
  'libcudnn.so.9',
]

/**
 * The provider for a device. @param path of its library, where a user names one
 * @throws UsageError for a path without a file, or for the CPU
 */
export function providerOf(device: 'cpu' | DeviceProvider['device'], path?: string): DeviceProvider | undefined {
  const named = path === undefined ? undefined : resolve(path)
  if (named !== undefined && !existsSync(named)) throw new UsageError(`provider: there is no ${named}.`)
  if (named !== undefined && device === 'cpu')
    throw new UsageError(`provider ${named} is for a GPU. Name its device: webgpu or cuda.`)
  if (device === 'cpu') return undefined
  if (device === 'webgpu') return named === undefined ? DEVICE_PROVIDERS.webgpu : webgpuPlugin(named)
  return { ...DEVICE_PROVIDERS.cuda, library: cudaRuntime(named) }
}

/**
 * CUDA's provider for ONNX Runtime: beside onnxruntime-node's library, or in the Python package onnxruntime-gpu of the
 * same version.
 */
export function cudaProvider(): { readonly path: string; readonly isThere: boolean } {
  const own = join(onnxRuntime(), BINARIES, CUDA)
  const packages = packageFolders().map(folder => join(folder, 'onnxruntime/capi', CUDA))
  const found = [own, ...packages.filter(path => existsSync(libraryBeside(path)))].find(path => existsSync(path))
  return { path: found ?? own, isThere: found !== undefined }
}

const libraryBeside = (provider: string): string => join(dirname(provider), `libonnxruntime.so.${RUNTIME_VERSION}`)

/**
 * The library of ONNX Runtime beside CUDA's provider. Undefined for onnxruntime-node's own.
 * @throws UsageError where the provider that a user names has no library of this version beside it
 */
function cudaRuntime(named?: string): string | undefined {
  const library = libraryBeside(named ?? cudaProvider().path)
  if (existsSync(library)) {
    loadCuda()
    return library
  }
  if (named === undefined) return undefined
  throw new UsageError(
    `provider: ${named} has no ${library} beside it. Take it from the Python package onnxruntime-gpu ` +
      `${RUNTIME_VERSION}.`,
  )
}

/** Loads CUDA's libraries from Python's packages: the system's loader does not look there, but takes loaded ones. */
function loadCuda(): void {
  for (const path of OF_CUDA.flatMap(name => inPackages(name).slice(0, 1)))
    try {
      createRequire(import.meta.url)('koffi').load(path)
    } catch {} // ONNX Runtime says which library is missing
}

/** Packages of CUDA 13 share one folder, `nvidia/cu13`. */
const inPackages = (name: string): string[] =>
  packageFolders()
    .map(folder => join(folder, 'nvidia'))
    .flatMap(nvidia => entries(nvidia).map(part => join(nvidia, part, 'lib')))
    .filter(lib => entries(lib).includes(name))
    .map(lib => join(lib, name))
