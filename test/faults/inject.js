// Loaded before the binary (`node --import`): in its worker the file layer of Node fails at one call, gives less than was asked for, or hangs.
// FASP_FAULT is JSON of `Fault` (faults.test.ts). What is called is appended to FASP_FAULT_LOG, a line `<kind> <path>` each, with `!` where it fails.

// Loaded before the binary (`node --import`): in its worker the file layer of Node fails at one call, gives less than was asked for, or hangs.
// FASP_FAULT is JSON of `Fault` (faults.test.ts). What is called is appended to FASP_FAULT_LOG, a line `<kind> <path>` each, with `!` where it fails.
import fs, { appendFileSync } from 'node:fs'
import promises from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { isMainThread } from 'node:worker_threads'

if (!isMainThread) await patch(JSON.parse(process.env.FASP_FAULT ?? '{}'), process.env.FASP_FAULT_LOG)

async function patch({ kind, at, how }, log) {
  const paths = new WeakMap()
  const streams = new Map()
  const counts = {}
  /** @returns how the call is to fail, or undefined */
  const fails = (of, path) => {
    if (String(path).startsWith('file:')) return undefined // Node loads a module
    const n = (counts[of] = (counts[of] ?? -1) + 1)
    const now = of === kind && (at === undefined || n === at)
    if (log) appendFileSync(log, `${of} ${path}${now ? ' !' : ''}\n`)
    if (now && how === 'hang') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0) // as a native call that does not come back
    return now ? how : undefined
  }
  const error = (how, of, path) =>
    Object.assign(new Error(`${how}: injected, ${of} '${path}'`), { code: how, syscall: of, path })
  /** Of a length, less than half. */
  const shorter = length => Math.max(Math.min(1, length), Math.floor(length / 2) - 1)

  const { open } = promises
  const own = await open(process.execPath)
  const handles = Object.getPrototypeOf(own)
  await own.close()
  promises.open = async (path, ...rest) => {
    const how = fails('open', path)
    if (how) throw error(how, 'open', path)
    const handle = await open(path, ...rest)
    paths.set(handle, String(path))
    return handle
  }
  for (const of of ['read', 'write']) {
    const call = handles[of]
    handles[of] = async function (buffer, ...rest) {
      if (!ArrayBuffer.isView(buffer)) return call.call(this, buffer, ...rest)
      const [offset, length, position] = rest
      const given = typeof offset === 'object' ? offset : { offset, length, position }
      const { offset: start = 0, length: all = buffer.byteLength - start, position: from = null } = given ?? {}
      const path = paths.get(this)
      const how = fails(of, path)
      if (how === 'zero') return { bytesRead: 0, bytesWritten: 0, buffer }
      if (how && how !== 'short') throw error(how, of, path)
      return call.call(this, buffer, start, how ? shorter(all) : all, from)
    }
  }
  for (const of of ['sync', 'truncate', 'stat', 'readFile', 'close']) {
    const call = handles[of]
    handles[of] = async function (...rest) {
      const how = fails(of, paths.get(this))
      if (!how) return call.apply(this, rest)
      if (of === 'close') await call.apply(this, rest)
      throw error(how, of, paths.get(this))
    }
  }
  for (const of of [
    'rename',
    'mkdir',
    'rm',
    'rmdir',
    'readdir',
    'stat',
    'lstat',
    'realpath',
    'readFile',
    'writeFile',
    'statfs',
  ]) {
    const call = promises[of]
    promises[of] = async (path, ...rest) => {
      const how = fails(of, path)
      if (how && of === 'writeFile') await call(path, 'half', ...rest.slice(1))
      if (how) throw error(how, of, path)
      return call(path, ...rest)
    }
  }
  // Streams of paths read by callbacks.
  const { open: openBack, read: readBack } = fs
  fs.open = (path, ...rest) => {
    const done = rest.pop()
    openBack(path, ...rest, (failed, fd) => {
      if (!failed) streams.set(fd, String(path))
      done(failed, fd)
    })
  }
  fs.read = (fd, buffer, offset, length, position, done) => {
    const how = fails('read', streams.get(fd))
    if (how === 'zero') return process.nextTick(done, null, 0, buffer)
    if (how && how !== 'short') return process.nextTick(done, error(how, 'read', streams.get(fd)))
    readBack(fd, buffer, offset, how ? shorter(length) : length, position, done)
  }
  syncBuiltinESMExports()
}
