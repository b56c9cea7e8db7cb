// OpenVINO's execution provider for ONNX Runtime, a library of its own, on this machine.
// Source: package onnxruntime-ep-openvino (PyPI, MIT).
import { join } from 'node:path'
import { UsageError } from '../../base/errors.ts'
import { entries, packageFolders, pythonRoots } from '../python-packages.node.ts'

const LIBRARY = 'libonnxruntime_providers_openvino_plugin.so'
const PACKAGE = 'onnxruntime_ep_openvino'
export const HINT = 'Install it (pip install --no-deps onnxruntime-ep-openvino), or do without.'

/** @throws UsageError where pip has not put it */
export function pluginPath(): string {
  for (const folder of packageFolders().map(packages => join(packages, PACKAGE)))
    if (entries(folder).includes(LIBRARY)) return join(folder, LIBRARY)
  throw new UsageError(
    `OpenVINO’s plugin, from which products in bf16 come, was not found: no ${PACKAGE} in a Python under ` +
      `${pythonRoots().join(', ')}. ${HINT}`,
  )
}
