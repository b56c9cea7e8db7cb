// Run by npm after it has installed fasp (package.json): fetches ONNX Runtime. A failure here does not fail the
// installation, since the first engine tries again.
import { onnxRuntime } from './package.node.ts'

try {
  onnxRuntime()
} catch (error) {
  console.warn(`fasp: ${(error as Error).message}`)
}
