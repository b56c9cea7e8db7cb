// Matrix products in bfloat16 on the CPU: OpenVINO as an execution provider of ONNX Runtime, in a library of its own. It takes and gives
// float32, rounds both operands of a product to bfloat16, and adds up in float32. Source: package onnxruntime-ep-openvino (PyPI, MIT).
import { readdirSync, realpathSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { UsageError } from '../errors.ts'
import type { GraphRuntime } from './engine.ts'
import { nativeGraphs } from './native.node.ts'

const LIBRARY = 'libonnxruntime_providers_openvino_plugin.so'
const FOLDER = 'onnxruntime_ep_openvino'
const HINT =
  'Install it (pip install --no-deps onnxruntime-ep-openvino; Linux x64), and give the path of its library with --openvino where it is not found.'

/** @param version of ONNX Runtime @param library its path, or `auto` @throws UsageError where it cannot be used */
export function openvinoGraphs(version: string, library: string, threads?: number): GraphRuntime {
  const path = library === 'auto' ? installed() : existing(library)
  const cpu = { INFERENCE_PRECISION_HINT: 'bf16', ...(threads ? { INFERENCE_NUM_THREADS: `${threads}` } : {}) }
  const options = { load_config: JSON.stringify({ CPU: cpu }) }
  let graphs: GraphRuntime | undefined
  try {
    graphs = nativeGraphs(version, threads, { provider: 'OpenVINOExecutionProvider', library: path, options })
  } catch (cause) {
    throw new UsageError(`openvino: cannot load ${path} (${(cause as Error).message.trim()}). ${HINT}`, { cause })
  }
  if (graphs) return graphs
  throw new UsageError(
    'openvino: needs Linux x64 and the package koffi (npm install koffi), without FASP_GRAPHS=binding in the environment.',
  )
}

function existing(path: string): string {
  try {
    return realpathSync(path)
  } catch (cause) {
    throw new UsageError(`openvino: there is no ${path}. ${HINT}`, { cause })
  }
}

/** Where pip puts packages. */
function installed(): string {
  const roots = [process.env.VIRTUAL_ENV, join(homedir(), '.local'), '/usr/local', '/usr'].flatMap(root =>
    root ? [join(root, 'lib')] : [],
  )
  for (const lib of roots)
    for (const python of names(lib).filter(name => name.startsWith('python3')))
      for (const packages of ['site-packages', 'dist-packages']) {
        const folder = join(lib, python, packages, FOLDER)
        if (names(folder).includes(LIBRARY)) return join(folder, LIBRARY)
      }
  throw new UsageError(`openvino: no ${LIBRARY} in a Python under ${roots.join(', ')}. ${HINT}`)
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
