// `--resume` on a disk that is full: a mount that only the process below it sees.
import { describe, expect, test } from 'vitest'
import { onDisk } from '../disk.ts'
import { fasp, TINY_LLAMA, workplaces } from '../fasp.ts'

const workplace = workplaces()

describe('on a full disk', () => {
  const args = [
    'prune',
    TINY_LLAMA,
    '-s',
    '0.3',
    '--calibration',
    'text.txt',
    '--windows',
    '40',
    '--seq-len',
    '128',
    '-o',
    'disk/out',
  ]
  test('a run goes on without a state, and says so', async () => {
    const folder = await workplace({ 'disk/x': '' })
    const { code, stderr } = await fasp([...args, '--save-every', '0'], { folder, wrap: onDisk('size=5m') })
    expect(code, stderr).toBe(0)
    expect(stderr).toMatch(/The state that --resume would go on from .* and the disk has .* beside the output/)
    expect(stderr.match(/left on the disk: .*/g)).toEqual(['left on the disk: out'])
  })
  test('a run that fails keeps its state, and goes on when there is room', async () => {
    const folder = await workplace({ 'disk/x': '' })
    // Again and again: a state that cannot be saved gives room back.
    const full =
      'until ls disk/.out.*/state/manifest.json; do sleep 0.01; done; while true; do head -c 99M /dev/zero >> disk/x; sleep 0.01; done'
    const script = `mount -t tmpfs -o size=40m none disk; (${full}) &> x & "$@"; echo "first: $?" >&2; kill $!; wait; rm disk/x; exec "$@" --resume`
    const wrap = ['unshare', '-m', 'bash', '-c', script, 'mounted']
    const { code, stderr } = await fasp([...args, '--save-every', '0'], { folder, wrap })
    expect(stderr).toMatch(/the disk is full; free some space.*\n.*--resume goes on from there\.\nfirst: 1$/m)
    expect(stderr).toContain('Goes on after')
    expect(code, stderr).toBe(0)
  })
})
