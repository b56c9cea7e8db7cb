// Outputs that a mount or the kernel (strace) lets nobody write: nothing is left behind, nothing old is touched.
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openCheckpoint } from '../../src/node.ts'
import { checkOutput } from '../../src/output/place.node.ts'
import { onDisk } from '../disk.ts'
import { fasp, QUICK, refused, run, TINY_LLAMA, workplaces } from '../fasp.ts'

const workplace = workplaces()
const to = (output: string, ...more: string[]) => ['prune', TINY_LLAMA, '-s', '0.2', '-o', output, ...QUICK, ...more]

describe('a disk of its own', () => {
  test('that is read-only', async () => {
    const folder = await workplace({ 'disk/x': '' })
    await refused(folder, to('disk/out'), { wrap: onDisk('ro'), says: ['disk/out: the file system is read-only'] })
  })
  test('that is the output itself', async () => {
    const folder = await workplace()
    mkdirSync(join(folder, 'disk'))
    await refused(folder, to('disk'), {
      wrap: onDisk('size=9m'),
      says: ['disk is a mount point', 'Name a folder in it: disk/model.'],
    })
    const bind = ['unshare', '-m', 'bash', '-c', 'mount --bind disk disk && "$@"', 'bound']
    await refused(folder, to('disk'), { wrap: bind, says: ['disk is a mount point'] })
  })
  test('that is too small', async () => {
    const folder = await workplace({ 'disk/x': '' })
    await refused(folder, to('disk/out'), {
      wrap: onDisk('size=1m'),
      says: ['disk/out: the output needs 3 MB, the disk has 2 MB left. Free some space or choose another folder.'],
    })
  })
  test('that is too small for the activations beside it', async () => {
    const folder = await workplace({ 'disk/x': '' })
    const text = ['--calibration', 'text.txt', '--windows', '64', '--seq-len', '128', '--memory', '0']
    await refused(folder, ['prune', TINY_LLAMA, '-s', '0.2', '-o', 'disk/out', ...text], {
      wrap: onDisk('size=9m'),
      says: [
        'disk/out: the output with activations (--memory keeps more in memory) needs 24 MB, the disk has 10 MB left.',
      ],
    })
  })
  test('that runs full', async () => {
    const folder = await workplace({ 'disk/x': '' })
    // Room for the weights, not for the small files that follow.
    await refused(folder, to('disk/out'), { wrap: onDisk('size=2200k'), says: ['of disk/out: the disk is full'] })
  })
})

test('killed by the kernel, at each rename', async () => {
  const folder = await workplace()
  await run(folder, ...to('out'))
  for (const when of [1, 2, 3, 4]) {
    // One thread of files, so that calls have an order. The first rename is of `checkMovable`.
    const inject = ['-e', 'trace=rename', '-e', `inject=rename:signal=KILL:when=${when}`]
    const wrap = ['env', 'UV_THREADPOOL_SIZE=1', 'strace', '-f', '-o', '/dev/null', ...inject]
    await fasp(to('out', '--overwrite'), { folder, wrap })
    await checkOutput(join(folder, 'out'), true)
    await using out = await openCheckpoint(join(folder, 'out'))
    expect(out.tensors.tensors.size).toBeGreaterThan(0)
    expect(readdirSync(folder).filter(name => name.endsWith('.old'))).toEqual([])
  }
})

test('on a disk that becomes read-only: the first error is told, though nothing can be removed', async () => {
  const calls = ['ftruncate', 'unlink', 'rmdir'].flatMap(call => ['-e', `inject=${call}:error=EROFS`])
  const wrap = ['strace', '-f', '-o', '/dev/null', '-e', 'trace=ftruncate,unlink,rmdir', ...calls]
  const { code, stderr } = await fasp(to('out'), { folder: await workplace(), wrap })
  expect(code).toBe(1)
  expect(stderr).toMatch(/fasp: cannot write \S+ of out: the file system is read-only; choose another folder.\n$/)
})
