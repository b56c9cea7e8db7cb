// Outputs that cannot be written or may not be replaced, and runs that are interrupted: nothing is left behind, nothing old is touched.
import { mkdirSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { prune } from '../src/node.ts'
import { describeDisk, onDisk } from './disk.ts'
import { fasp, QUICK, refused, snapshot, TEXT, TINY_LLAMA, workplaces } from './fasp.ts'

const workplace = workplaces()
const to = (output: string, ...more: string[]) => ['prune', TINY_LLAMA, '-s', '0.2', '-o', output, ...QUICK, ...more]

describe('an output that exists', () => {
  test('is refused without --overwrite', async () => {
    const folder = await workplace({ 'out/notes.md': 'mine' })
    await refused(folder, to('out'), {
      says: ['out exists already. Choose another folder, or replace it with --overwrite.'],
    })
  })
  test('is refused with --overwrite where fasp did not write it', async () => {
    const folder = await workplace({ 'out/notes.md': 'mine' })
    await refused(folder, to('out', '--overwrite'), { says: ['out was not written by fasp', 'leaves it alone'] })
  })
  test('is refused where it is a file', async () => {
    await refused(await workplace(), to('text.txt', '--overwrite'), {
      says: ['text.txt is a file', 'choose another name'],
    })
  })
  test('keeps its files where the new run fails', async () => {
    const folder = await workplace({ 'out/fasp.json': '{}', 'out/model.safetensors': 'old', 'short.txt': 'Short.' })
    await refused(folder, to('out', '--overwrite', '--calibration', 'short.txt'), { says: ['short.txt: '] })
  })
  test('is replaced with --overwrite where fasp wrote it, and used where it is empty', async () => {
    const folder = await workplace({ 'out/fasp.json': '{}', 'out/old.txt': 'old' })
    mkdirSync(join(folder, 'empty'))
    for (const args of [to('out', '--overwrite'), to('empty')]) {
      const { code, stderr } = await fasp(args, { folder })
      expect(code, stderr).toBe(0)
    }
    const names = (await snapshot(folder)).map(line => line.slice(folder.length + 1).split(' ')[0])
    expect(names.filter(name => !name.includes('/'))).toEqual(['empty', 'out', 'text.txt'])
    const inside = (part: string) =>
      names.filter(name => name.startsWith(`${part}/`)).map(name => name.slice(part.length))
    expect(inside('out')).toEqual(inside('empty'))
    expect(inside('out')).toContain('/model.safetensors')
  })
})

describe('an output that cannot be written', () => {
  test('below a file', async () => {
    await refused(await workplace(), to('text.txt/out'), {
      says: ['cannot create text.txt/out: a part of the path is a file; choose another folder'],
    })
    await refused(await workplace(), to('text.txt/deep/out'), { says: ['a part of the path is a file'] })
  })
  test('with a name that is too long', async () => {
    await refused(await workplace(), to('x'.repeat(300)), { says: ['the name is too long; choose a shorter one'] })
  })
  test('folders made for it go again when the run fails', async () => {
    const folder = await workplace({ 'short.txt': 'Short.' })
    await refused(folder, to('new/deep/out', '--calibration', 'short.txt'), { says: ['short.txt: '] })
  })
  test('where files may not grow (ulimit -f)', async () => {
    const wrap = ['bash', '-c', 'ulimit -f 100 && exec "$@"', 'limited']
    await refused(await workplace(), to('out'), { wrap, says: ['cannot write model.safetensors of out', 'ulimit -f'] })
  })
  test('in a folder without permission', async () => {
    // Root may write everywhere, unless the capability is taken away.
    const wrap = process.getuid?.() === 0 ? ['setpriv', '--bounding-set=-dac_override,-dac_read_search'] : undefined
    const folder = await workplace()
    mkdirSync(join(folder, 'locked'))
    await chmod(join(folder, 'locked'), 0o555)
    await refused(folder, to('locked/out'), {
      wrap,
      says: ['permission denied; choose a folder that you may write to'],
    })
  })
})

describeDisk('a disk of its own', () => {
  test('that is read-only', async () => {
    const folder = await workplace({ 'disk/x': '' })
    await refused(folder, to('disk/out'), { wrap: onDisk('ro'), says: ['disk/out: the file system is read-only'] })
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
    const text = ['--calibration', 'text.txt', '--samples', '64', '--seq-len', '128', '--memory', '0']
    await refused(folder, ['prune', TINY_LLAMA, '-s', '0.2', '-o', 'disk/out', ...text], {
      wrap: onDisk('size=9m'),
      says: [
        'disk/out: the output with activations (--memory keeps more in memory) needs 19 MB, the disk has 10 MB left.',
      ],
    })
  })
  test('that runs full', async () => {
    const folder = await workplace({ 'disk/x': '' })
    // Room for the weights, not for the small files that follow.
    await refused(folder, to('disk/out'), { wrap: onDisk('size=2200k'), says: ['of disk/out: the disk is full'] })
  })
})

describe('Ctrl-C', () => {
  const LONG = ['--calibration', 'long.txt', '--samples', '400', '--seq-len', '256']
  const interruptAt = (phase: string) => {
    let sent = false
    return (stderr: string, child: { kill(signal: 'SIGINT'): boolean }) => {
      if (sent || !stderr.includes(phase)) return
      sent = true
      child.kill('SIGINT')
    }
  }
  test.for([
    ['prune: layer 0', LONG],
    ['calibration text: 0', ['--samples', '64', '--seq-len', '256']],
    ['evaluate dense: layer 0', [...LONG, '--eval', 'long.txt']],
  ] as const)('at "%s"', async ([phase, args]) => {
    const folder = await workplace({ 'long.txt': TEXT.repeat(20), 'out/fasp.json': '{}', 'out/old.txt': 'old' })
    const all = ['prune', TINY_LLAMA, '-s', '0.2', '-o', 'out', '--overwrite', ...args]
    await refused(folder, all, {
      code: 130,
      says: ['fasp: interrupted; unfinished output was removed.'],
      onProgress: interruptAt(phase),
    })
  })
  test('with a scratch file', async () => {
    const folder = await workplace({ 'long.txt': TEXT.repeat(20) })
    await refused(folder, ['prune', TINY_LLAMA, '-s', '0.2', '-o', 'new/out', ...LONG, '--memory', '0'], {
      code: 130,
      says: ['interrupted'],
      onProgress: interruptAt('prune: layer 0'),
    })
  })
})

test('a caller of the library that stops listening leaves nothing', async () => {
  const folder = await workplace()
  const before = await snapshot(folder)
  const options = { sparsity: 0.2, samples: 2, seqLen: 32, calibration: [join(folder, 'text.txt')] }
  for await (const event of prune(TINY_LLAMA, { ...options, output: join(folder, 'new/out') }))
    if (event.type === 'progress') break
  expect(await snapshot(folder)).toEqual(before)
})
