// Turns ONNX Runtime's telemetry off by a variable, before the library is loaded; child processes inherit the variable.
// Otherwise ONNX Runtime for Linux and macOS queues events for Microsoft, looks up its host and writes into the home,
// the temporary and the current folder (onnxruntime/core/platform/posix/telemetry.cc, since 1.29). Its build for
// Windows has no uploader.
import { createRequire } from 'node:module'
import { isMainThread } from 'node:worker_threads'

const OFF = 'ORT_DISABLE_TELEMETRY'

/** @returns whether it is off for sure: a worker's environment may be a copy, which the library does not see */
export function turnTelemetryOff(): boolean {
  const reachesLibrary = isMainThread || process.platform === 'win32' || process.env[OFF] === '1'
  process.env[OFF] = '1'
  return reachesLibrary || setInProcess()
}

function setInProcess(): boolean {
  try {
    const koffi = createRequire(import.meta.url)('koffi')
    return koffi.load(null).func('int setenv(const char *, const char *, int)')(OFF, '1', 1) === 0
  } catch {
    return false // koffi is optional
  }
}
