// Outputs that cannot be written or may not be replaced, and runs that are interrupted: nothing is left behind, nothing old is touched.
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
} from 'node:fs'
import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { newOwner } from '../src/base/unfinished.node.ts'
import { pruneEvents } from '../src/node.ts'
import { openFolderSink } from '../src/output/folder.node.ts'
import { checkOutput } from '../src/output/place.node.ts'
import { writeFile } from '../src/output/sink.ts'
import { writeTextFile } from '../src/output/text-file.node.ts'
import { fasp, goneOwner, INTERRUPTED, put, QUICK, type Run, refused, run, snapshot, TEXT, workplaces } from './fasp.ts'
import { someOf } from './nightly.ts'
import { tinyOf2Layers } from './tiny.ts'

const workplace = workplaces()
const MODEL = tinyOf2Layers()
const PRUNE = ['-s', '0.2', '--method', 'plain', '--threads', '1']
const to = (output: string, ...more: string[]) => ['prune', MODEL, ...PRUNE, '-o', output, ...QUICK, ...more]

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
    const folder = await workplace({ 'out/fasp.json': '{}', 'short.txt': 'Short.' })
    await refused(folder, to('out', '--overwrite', '--calibration', 'short.txt'), { says: ['short.txt: '] })
  })
  test('is replaced with --overwrite where fasp wrote it, and used where it is empty', async () => {
    const folder = await workplace({ 'out/fasp.json': '{"files":["old.txt"]}', 'out/old.txt': 'old' })
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

test('a dry run refuses the outputs that the run would refuse, and touches none', async () => {
  const folder = await workplace({ 'mine/notes.md': 'mine', 'ours/fasp.json': '{}' })
  const dry = (output: string, ...more: string[]) => to(output, '--dry-run', ...more)
  await refused(folder, dry('ours'), { says: ['ours exists already. Choose another folder, or replace it with'] })
  await refused(folder, dry('mine', '--overwrite'), { says: ['mine was not written by fasp'] })
  await refused(folder, dry('text.txt'), { says: ['text.txt is a file'] })
  const before = await snapshot(folder)
  for (const args of [dry('ours', '--overwrite'), dry('new')]) await run(folder, ...args)
  expect(await snapshot(folder)).toEqual(before)
})

describe('--overwrite leaves alone', () => {
  test('what the user put into the folder', async () => {
    const folder = await workplace({ 'out/fasp.json': '{"files":["gguf/model.gguf"]}', 'out/gguf/model.gguf': 'old' })
    await put(folder, { 'out/NOTES.md': 'mine', 'out/gguf/mine.txt': 'mine' })
    mkdirSync(join(folder, 'out/eval'))
    await refused(folder, to('out', '--overwrite'), { says: ['out holds what its fasp.json does not list as written'] })
  })
  test('the model that is read', async () => {
    const folder = await workplace()
    await run(folder, ...to('out', '--to', 'padded'))
    const again = (model: string) => ['prune', model, ...PRUNE, '-o', 'out', ...QUICK, '--overwrite']
    await refused(folder, again('out/padded'), { says: ['out holds out/padded, which is read'] })
    await refused(folder, again('out'), { says: ['out holds out, which is read'] })
    await refused(folder, ['export', 'out/padded', '--to', 'gguf', '-o', 'out', '--overwrite'], { says: ['is read'] })
  })
})

describe('a link', () => {
  test('is followed', async () => {
    const folder = await workplace({ 'disk/x': '' })
    symlinkSync('disk/new', join(folder, 'link'))
    await refused(folder, to('link'), { says: ['link is a link that leads nowhere'] })
    mkdirSync(join(folder, 'disk/new'))
    await run(folder, ...to('link'))
    expect(lstatSync(join(folder, 'link')).isSymbolicLink()).toBe(true)
    expect(readdirSync(join(folder, 'disk/new'))).toContain('model.safetensors')
    expect(readdirSync(join(folder, 'disk'))).toEqual(['new', 'x'])
  })
})

test('a link to a report is followed, and one that leads nowhere is refused', async () => {
  const folder = await workplace({ 'disk/x': '' })
  symlinkSync('disk/report.html', join(folder, 'link.html'))
  const path = join(folder, 'link.html')
  await expect(writeTextFile(path, 'text')).rejects.toThrow('is a link that leads nowhere')
  await put(folder, { 'disk/report.html': '' })
  await writeTextFile(path, 'text', true)
  expect(lstatSync(path).isSymbolicLink()).toBe(true)
  expect(readFileSync(join(folder, 'disk/report.html'), 'utf8')).toBe('text')
  expect(readdirSync(join(folder, 'disk'))).toEqual(['report.html', 'x'])
})

describe('what happens to the unfinished folder', () => {
  /** Calls once, at the first time that the folder has a file of weights. */
  const atFirstWeights = (folder: string, act: (partial: string) => void) => {
    let done = false
    return () => {
      const partial = readdirSync(folder).find(name => name.endsWith('.partial'))
      if (done || !partial || !existsSync(join(folder, partial, 'model.safetensors'))) return
      done = true
      act(join(folder, partial))
    }
  }
  const LONG = ['--calibration', 'text.txt', '--windows', '40', '--seq-len', '128', '--overwrite']
  const old = { 'out/fasp.json': '{}' }

  test('removed: the run fails, and the old output stays', async () => {
    const folder = await workplace(old)
    const onProgress = atFirstWeights(folder, partial => rmSync(partial, { recursive: true }))
    await refused(folder, ['prune', MODEL, ...PRUNE, '-o', 'out', ...LONG], {
      says: ['out: somebody removed', 'Run again'],
      onProgress,
    })
  })
  test('a file of it cut: the run fails, and the old output stays', async () => {
    const folder = await workplace(old)
    const sink = await openFolderSink(join(folder, 'out'), true)
    await writeFile(sink, { name: 'model.safetensors', bytes: new Uint8Array(100) })
    truncateSync(join(sink.pending, 'model.safetensors'), 50)
    await expect(sink.commit()).rejects.toThrow('model.safetensors of')
    await sink.abort()
    expect(readdirSync(folder)).toEqual(['out', 'text.txt'])
  })
  test('the place taken meanwhile: the result is kept, and said where', async () => {
    const folder = await workplace()
    const sink = await openFolderSink(join(folder, 'out'), false)
    await writeFile(sink, { name: 'model.safetensors', bytes: new Uint8Array(100) })
    await put(folder, { 'out/other.txt': 'of another run' })
    const error = await sink.commit().catch(error => error)
    await sink.abort()
    expect(error.message).toContain(`exists already`)
    const [, kept] = /The finished result is kept in (.+finished)\.$/.exec(error.message)!
    await (await openFolderSink(join(folder, 'other'), false)).abort() // takes it for no leftover
    expect(readdirSync(kept)).toEqual(['model.safetensors'])
    expect(readdirSync(join(folder, 'out'))).toEqual(['other.txt'])
  })
})

describe('a run killed while the new output takes the place of the old', () => {
  const partial = `.out.${goneOwner()}.partial`
  const gone = `${partial}.old`
  test('between the two renames: the next run puts the new one in place', async () => {
    const folder = await workplace({ [`${partial}/fasp.json`]: '{"new":1}', [`${gone}/fasp.json`]: '{}' })
    const { stderr, code } = await fasp(to('out'), { folder })
    expect(code).toBe(1)
    expect(stderr).toContain('out was missing: a run was killed as it put it in place. It is back, from ')
    expect(stderr).toContain('out exists already')
    expect(readdirSync(folder)).toEqual(['out', 'text.txt'])
    expect(readFileSync(join(folder, 'out/fasp.json'), 'utf8')).toBe('{"new":1}')
  })
  test('between the two renames: a command that reads it finds it, and so does a run beside it', async () => {
    const folder = await workplace()
    await run(folder, ...to('out'))
    const commands = [['inspect', 'out'], ['verify', 'out'], ['push', 'out', 'me/out', '--dry-run'], to('new')]
    for (const command of commands) {
      renameSync(join(folder, 'out'), join(folder, partial))
      await put(folder, { [`${gone}/fasp.json`]: '{}' })
      expect((await run(folder, ...command)).stderr).toContain('out was missing: a run was killed')
      expect(readdirSync(folder).filter(name => !['new', 'text.txt'].includes(name))).toEqual(['out'])
    }
  })
  test('by a process that still runs: what it has there stays', async () => {
    const alive = `.out.${newOwner()}.partial`
    const folder = await workplace({ [`${alive}/fasp.json`]: '{"new":1}', [`${alive}.old/fasp.json`]: '{}' })
    await refused(folder, to('out'), { says: ['out is being written by process'] })
    await expect(checkOutput(join(folder, 'out'))).rejects.toThrow(
      `out is being written by process ${process.pid}, in `,
    )
  })
  test('before the new one was whole: the old one comes back', async () => {
    const folder = await workplace({ [`${gone}/fasp.json`]: '{"old":1}' })
    await expect(checkOutput(join(folder, 'out'))).rejects.toThrow('exists already')
    expect(readFileSync(join(folder, 'out/fasp.json'), 'utf8')).toBe('{"old":1}')
  })
  test('while the old one was removed: the rest of it goes', async () => {
    const folder = await workplace({
      'out/fasp.json': '{}',
      [`${gone}/fasp.json`]: '{}',
      '.output.1.partial.old/x': '',
    })
    await checkOutput(join(folder, 'out'), true)
    expect(readdirSync(folder)).toEqual(['.output.1.partial.old', 'out', 'text.txt'])
  })
})

describe('two runs into one output', () => {
  const LONG = ['--calibration', 'text.txt', '--windows', '100', '--seq-len', '256']
  test.for(someOf(['out', 'out.gguf'], output => output === 'out'))(
    '%s: the second is refused at once, the first goes on',
    async output => {
      const folder = await workplace()
      const args = ['prune', MODEL, ...PRUNE, '-o', output, ...LONG]
      let second: Promise<Run> | undefined
      const first = await fasp(args, {
        folder,
        onProgress: stderr => {
          if (stderr.includes('prune: layer 0')) second ??= fasp(args, { folder })
        },
      })
      expect(first.code, first.stderr).toBe(0)
      const { code, stderr } = await second!
      expect(code).toBe(1)
      expect(stderr).toMatch(
        /^fasp: out(\.gguf)? is being written by process \d+, in .+\. Wait until it has ended, or choose another output\.\n$/,
      )
      expect(readdirSync(folder).sort()).toEqual([output, 'text.txt'])
    },
  )
  test('that begin at the same moment: one is refused', async () => {
    const folder = await workplace()
    const both = [1, 2, 3, 4].map(() => openFolderSink(join(folder, 'out'), false))
    const sinks = (await Promise.allSettled(both)).flatMap(one => (one.status === 'fulfilled' ? [one.value] : []))
    expect(sinks.length).toBe(1)
    await sinks[0].abort()
    expect(readdirSync(folder)).toEqual(['text.txt'])
  })
  test('that go on with the same state at the same moment: one has it, the others are refused', async () => {
    const folder = await workplace({ [`.out.${goneOwner()}.partial/state/manifest.json`]: 'kept' })
    const resume = async () => {}
    const all = [1, 2, 3, 4].map(() => openFolderSink(join(folder, 'out'), false, { resume }))
    const ended = await Promise.allSettled(all)
    const sinks = ended.flatMap(one => (one.status === 'fulfilled' ? [one.value] : []))
    expect(sinks.length).toBe(1)
    expect(readFileSync(join(sinks[0].pending, 'state/manifest.json'), 'utf8')).toBe('kept')
    for (const one of ended) if (one.status === 'rejected') expect(one.reason.message).toContain('is being written by')
    await sinks[0].abort()
    const [left, ...more] = readdirSync(folder).filter(name => name !== 'text.txt')
    expect([existsSync(join(folder, left, 'state/manifest.json')), more]).toEqual([true, []])
  })
  test('that go on with the same state, which one takes while the other reads it: the other is refused', async () => {
    const left = `.out.${goneOwner()}.partial`
    const folder = await workplace({ [`${left}/state/manifest.json`]: 'kept' })
    const taken = join(folder, `.out.${newOwner()}.partial`)
    const resume = async () => {
      renameSync(join(folder, left), taken)
      throw new Error('no such file')
    }
    await expect(openFolderSink(join(folder, 'out'), false, { resume })).rejects.toThrow(
      `out is being written by process ${process.pid}, in ${taken}`,
    )
  })
})

describe('what a killed run has left', () => {
  test('is removed by the next run in the folder, which says so; what may be of others stays, and is named', async () => {
    const folder = await workplace()
    const killed = await fasp(to('out', '--windows', '400', '--memory', '0'), {
      folder,
      onProgress: (stderr, child) => stderr.includes('prune: layer 0') && child.kill('SIGKILL'),
    })
    expect(killed.code).toBe(null)
    const [left] = readdirSync(folder)
    expect(left).toMatch(/^\.out\..+\.partial$/)
    const elsewhere = '.out.\x1b[31m.00000000-1-2-12345678.partial'
    const other = `.x.${newOwner()}.partial`
    await put(folder, { [`${elsewhere}/x`]: '', [`${other}/x`]: '', '.y.partial/x': '' })
    const { stderr } = await run(folder, ...to('new'))
    expect(stderr).toContain(`${join(folder, left)} is removed: a run that was killed had left it.\n`)
    expect(stderr).toContain(`${join(folder, elsewhere).replace('\x1b', ' ')} is of another user, machine or container`)
    expect(stderr).not.toContain(other)
    expect(readdirSync(folder).sort()).toEqual([elsewhere, other, '.y.partial', 'new', 'text.txt'].sort())
  })
})

describe('an output that cannot be written', () => {
  test('below a file', async () => {
    await refused(await workplace(), to('text.txt/out'), {
      says: ['cannot create text.txt/out: a part of the path is a file; choose another folder'],
    })
    await refused(await workplace(), to('text.txt/deep/out'), { says: ['a part of the path is a file'] })
  })
  test('with the longest name that there is: it can', async () => {
    const folder = await workplace()
    await run(folder, ...to('x'.repeat(255)))
    expect(readdirSync(folder)).toEqual(['text.txt', 'x'.repeat(255)])
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

describe('Ctrl-C', () => {
  const LONG = ['--calibration', 'long.txt', '--windows', '400', '--seq-len', '256']
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
    ['calibration text: 0', ['--windows', '64', '--seq-len', '256']],
    ['evaluate dense: layer 0', [...LONG, '--text', 'long.txt']],
  ] as const)('at "%s"', async ([phase, args]) => {
    const folder = await workplace({ 'long.txt': TEXT.repeat(20), 'out/fasp.json': '{}' })
    const all = ['prune', MODEL, ...PRUNE, '-o', 'out', '--overwrite', ...args]
    await refused(folder, all, {
      code: 130,
      says: ['fasp: interrupted; unfinished output was removed'],
      onProgress: interruptAt(phase),
    })
  })
  test('where nothing was unfinished', async () => {
    const folder = await workplace({ 'long.txt': TEXT.repeat(20) })
    const run = await fasp(['eval', MODEL, '--text', 'long.txt'], { folder, onProgress: interruptAt('evaluate') })
    expect(INTERRUPTED).toContain(run.code)
    expect(run.stderr.split('\n').at(-2)).toBe('fasp: interrupted.')
  })
  test('with a scratch file', async () => {
    const folder = await workplace({ 'long.txt': TEXT.repeat(20) })
    await refused(folder, ['prune', MODEL, ...PRUNE, '-o', 'new/out', ...LONG, '--memory', '0'], {
      code: 130,
      says: ['interrupted'],
      onProgress: interruptAt('prune: layer 0'),
    })
  })
})

describe('a command that never comes to an end, within its unfinished folder', () => {
  // In the worker that runs the command, as soon as its folder is there: the main thread was told of the folder before.
  const HANG = `data:text/javascript,import { subscribe } from 'node:diagnostics_channel'
    import { existsSync } from 'node:fs'
    const hangIn = path => { if (!existsSync(path)) return setImmediate(hangIn, path); console.error('hangs'); for (;;); }
    subscribe('fasp:unfinished', ({ path, state }) => state === 'temporary' && hangIn(path))`
  const signals: [NodeJS.Signals, number][] = [
    ['SIGINT', 1],
    ['SIGINT', 2],
    ['SIGTERM', 1],
    ['SIGHUP', 1],
  ]
  test.for(someOf(signals, (_, i) => i % 2 === 0))(
    'obeys %s, sent %d times, and leaves nothing',
    async ([signal, times]) => {
      const folder = await workplace({ 'out/fasp.json': '{}' })
      const before = await snapshot(folder)
      let sent = 0
      const { code, stderr } = await fasp(to('out', '--overwrite', '--windows', '400'), {
        folder,
        env: { NODE_OPTIONS: `--import=${encodeURI(HANG)}` },
        onProgress: (stderr, child) => {
          if (sent > 0 || !stderr.includes('hangs')) return
          sent = performance.now()
          for (let i = 0; i < times; i++) setTimeout(() => child.kill(signal), 20 * i)
        },
      })
      expect(performance.now() - sent).toBeLessThan(10_000)
      expect(code).toBe(null) // ended by a signal, which a shell shows as 130
      expect(stderr).toContain('fasp: interrupted; unfinished output was removed')
      expect(await snapshot(folder)).toEqual(before)
    },
  )
})

test('a caller of the library that stops listening leaves nothing', async () => {
  const folder = await workplace()
  const before = await snapshot(folder)
  const options = { sparsity: 0.2, windows: 2, seqLen: 32, calibration: [join(folder, 'text.txt')] }
  for await (const event of pruneEvents(MODEL, { ...options, output: join(folder, 'new/out') }))
    if (event.type === 'progress') break
  expect(await snapshot(folder)).toEqual(before)
})
