// The cache of the Hub on a disk that is too small, read-only or full: it needs leave to mount.
import { test } from 'vitest'
import { onDisk } from '../disk.ts'
import { QUICK, refused, workplaces } from '../fasp.ts'
import { hubPlace, TINY_FILES } from '../hub.ts'

const workplace = workplaces()
const place = hubPlace()
const { server } = place
const ID = 'me/tiny'
const PRUNE = ['prune', ID, '-s', '0.2', '-o', 'out', ...QUICK]

async function refusedOn(disk: string, says: readonly string[]) {
  server.put(ID, TINY_FILES)
  const env = { ...place.env, HF_HOME: 'disk' }
  await refused(await workplace({ 'disk/x': '' }), PRUNE, { wrap: onDisk(disk, false), env, says })
}

test.for([
  ['too small', 'size=1m', 'me/tiny: the download to disk/hub (set by HF_HOME) needs 3 MB, the disk has'],
  ['read-only', 'ro', 'cannot write to disk/hub: a part of the path does not exist, or cannot be made'],
] as const)('a cache on a disk that is %s is refused', ([, options, says]) => refusedOn(options, [says]))

test('a cache on a disk that runs full is refused', async () => {
  const sum = Object.values(TINY_FILES).reduce((n, file) => n + file.length, 0)

  // Room for the sum of the sizes, but not for whole blocks of each file.
  await refusedOn(`size=${4 * Math.ceil(sum / 4096)}k`, ['cannot write disk/hub/', 'the disk is full'])
})
