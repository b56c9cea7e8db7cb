// OpenVINO's execution provider for ONNX Runtime, a library of its own, on this machine.
// Source: package onnxruntime-ep-openvino (PyPI, MIT).
import { readdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { UsageError } from './errors.ts'

const LIBRARY = 'libonnxruntime_providers_openvino_plugin.so'
const PACKAGE = 'onnxruntime_ep_openvino'
export const HINT = 'Install it (pip install --no-deps onnxruntime-ep-openvino), or do without.'

/** Where pip puts it. @throws UsageError where it is not */
export function pluginPath(): string {
  const { VIRTUAL_ENV } = process.env
  const roots = [...(VIRTUAL_ENV ? [VIRTUAL_ENV] : []), join(homedir(), '.local'), '/usr/local', '/usr']
  for (const lib of roots.map(root => join(root, 'lib')))
    for (const python of entries(lib).filter(name => name.startsWith('python3')))
      for (const packages of ['site-packages', 'dist-packages']) {
        const folder = join(lib, python, packages, PACKAGE)
        if (entries(folder).includes(LIBRARY)) return join(folder, LIBRARY)
      }
  throw new UsageError(
    `OpenVINO’s plugin, from which products in bf16 come, was not found: no ${PACKAGE} in a Python under ${roots.join(', ')}. ${HINT}`,
  )
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
