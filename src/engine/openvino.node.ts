// Products in bf16 by OpenVINO on Intel's CPUs, an execution provider of ONNX Runtime in a library of its own. Inputs
// and outputs of graphs are float32, operands are rounded to bfloat16, and products add up in float32.
// Source: package onnxruntime-ep-openvino (PyPI, MIT).
import { UsageError } from '../base/errors.ts'
import type { Reduced } from './engine.ts'
import type { GraphRuntime } from './graph-runtime.ts'
import { nativeGraphs, nativePlugin, type Plugin } from './native.node.ts'
import { NoDeviceError } from './ort/c.node.ts'
import { HINT, pluginPath } from './ort/openvino-library.node.ts'

/** Size of the triangles of syrk.ts. OpenVINO rounds sums. */
const TRIANGLE = 384

const PROVIDER = 'OpenVINOExecutionProvider'

interface OpenVino {
  /** With the version. */
  readonly name: string
  /**
   * @param threads of one operator @default one for each physical core
   * @param whole refuses graphs that ONNX Runtime would run in part
   * @throws UsageError where the CPU has no such products
   */
  graphs(threads?: number, whole?: boolean): GraphRuntime
}

/** @param runtime version of ONNX Runtime @throws UsageError where it cannot be used */
export function openOpenVino(runtime: string): OpenVino {
  if (process.platform !== 'linux' || process.arch !== 'x64' || !nativeGraphs(runtime))
    throw new UsageError(
      'OpenVINO, from which products in bf16 come, needs Linux x64 and the package koffi (npm install koffi), ' +
        'without FASP_GRAPHS=binding in the environment.',
    )
  const plugin = load(runtime, pluginPath())
  return {
    name: `OpenVINO plugin ${plugin.about('version')?.split('+')[0]}`,
    graphs(threads, whole) {
      const capabilities = plugin.about('OPTIMIZATION_CAPABILITIES')
      if (capabilities && !capabilities.split(' ').includes('BF16'))
        throw new UsageError(
          'Products in bf16 need a CPU with instructions for them (AVX-512 BF16 or AMX), and this one has none. ' +
            'Leave them out.',
        )
      const ofThreads = threads ? { INFERENCE_NUM_THREADS: String(threads) } : {}
      const load_config = JSON.stringify({ CPU: { INFERENCE_PRECISION_HINT: 'bf16', ...ofThreads } })
      return plugin.graphs({ load_config }, threads, whole)
    },
  }
}

/** Products in bf16 for an engine. @param whole as of `OpenVino.graphs` @throws UsageError on other machines */
export function openBf16(runtime: string, threads?: number, whole?: boolean): Reduced {
  const { name, graphs } = openOpenVino(runtime)
  const dialect = { attention: 'products', residual: 'graph' } as const
  return { graphs: graphs(threads, whole), dialect, facts: { openvino: name }, triangle: TRIANGLE }
}

function load(runtime: string, path: string): Plugin {
  try {
    return nativePlugin(runtime, PROVIDER, path)!
  } catch (cause) {
    const said = `openvino: cannot load ${path} (${(cause as Error).message.trim()}).`
    const advice = cause instanceof NoDeviceError ? 'OpenVINO’s plugin takes Intel’s CPUs only. Do without.' : HINT
    throw new UsageError(`${said} ${advice}`, { cause })
  }
}
