// CUDA's libraries where there is no card: built of test/fixtures/cuda/stub.c, if this machine has a C compiler (FASP_REQUIRE_CC in CI).
import { execFileSync } from 'node:child_process'
import { mkdirSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { CUDA_LIBRARIES } from '../src/native/cuda.node.ts'

export const hasCompiler = (() => {
  if (process.platform !== 'linux') return false
  try {
    execFileSync('cc', ['--version'], { stdio: 'pipe' })
    return true
  } catch (error) {
    if (process.env.FASP_REQUIRE_CC) throw error
    console.warn('no C compiler here: what calls CUDA is not tested')
    return false
  }
})()

/** @param lib folder to make @param flags of the compiler @param version of CUDA, by its place in `CUDA_LIBRARIES` */
export function buildStub(lib: string, flags: readonly string[] = [], version = 0): void {
  mkdirSync(lib, { recursive: true })
  const { cudart, ...others } = CUDA_LIBRARIES[version]
  const source = new URL('./fixtures/cuda/stub.c', import.meta.url).pathname
  execFileSync('cc', ['-O2', '-shared', '-fPIC', ...flags, source, '-lm', '-o', join(lib, cudart)])
  for (const name of Object.values(others)) symlinkSync(cudart, join(lib, name))
}

/** What a test sets and asks of it. */
export function stubOf(lib: string) {
  const library = createRequire(import.meta.url)('koffi').load(join(lib, CUDA_LIBRARIES[0].cudart))
  const [reset, wrong] = ['stub_reset', 'stub_be_wrong'].map(name => library.func(`void ${name}()`) as () => void)
  const fail = library.func('void stub_fail(const char *call, int status, int all)')
  return {
    reset,
    /** From now on solutions are 1e-3 off. */
    beWrong: wrong,
    beSlow: library.func('void stub_be_slow(int milliseconds)') as (milliseconds: number) => void,
    /** Bytes of its memory. */
    setRoom: library.func('void stub_room(size_t bytes)') as (bytes: number) => void,
    /** From now on this function returns that; where it sticks, all do once it was called. */
    fail: (call: string, status: number, sticks = false) => fail(call, status, +sticks),
    /** Bytes that are allocated. */
    used: () => Number(library.func('size_t stub_used()')()),
    /** What cudaGetLastError would say. */
    last: library.func('int stub_last()') as () => number,
    calls: library.func('int stub_calls()') as () => number,
  }
}
