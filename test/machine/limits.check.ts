// Memory that a cgroup limits: an error before the work.
import { describe, expect, test } from 'vitest'
import { fasp, QUICK, snapshot, TINY_LLAMA, workplaces } from '../fasp.ts'
import { inCgroup } from '../limits.ts'

const workplace = workplaces()

describe('a cgroup', () => {
  test('with less than the plan needs: an error before the work; the dry run says so, too', async () => {
    const folder = await workplace()
    const args = ['prune', TINY_LLAMA, '-s', '0.3', ...QUICK]
    const before = await snapshot(folder)
    const { code, stderr } = await fasp([...args, '-o', 'out'], { folder, wrap: inCgroup(250) })
    expect(code, stderr).toBe(1)
    const says = /this takes about [\d.]+ MB of memory, and this machine or container has 250\.\d MB\. A lower --memory/
    expect(stderr).toMatch(says)
    expect(await snapshot(folder)).toEqual(before)
    const planned = await fasp([...args, '--dry-run'], { folder, wrap: inCgroup(250) })
    expect([planned.code, planned.stdout]).toEqual([0, expect.stringContaining('Expected memory: ')])
    expect(planned.stderr).toMatch(says)
    const fits = await fasp([...args, '-o', 'out'], { folder, wrap: inCgroup(600) })
    expect(fits.code, fits.stderr).toBe(0)
  })
})
