// Three hosts: network namespaces with names and addresses of their own, where the kernel allows them, else this machine. What ssh would start
// on another goes through a script.
import { type ChildProcess, execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, test } from 'vitest'
import { prune } from '../../src/node.ts'
import { CLI, TEXT, TINY_LLAMA, workplaces } from '../fasp.ts'
import { inProcess } from '../in-process-ranks.ts'
import { LAUNCHERS, type Launcher, runAll } from './launchers.ts'

const HOSTS = [1, 2, 3]
const BRIDGE = `fb${process.pid}`
const nameOf = (host: number) => `fasp-${process.pid}-${host}`
const addressOf = (host: number) => `10.213.77.${host}`
const ip = (...args: string[]) => execFileSync('ip', args, { stdio: 'pipe' })

/** @returns whether there are hosts now that reach each other */
function divide(): boolean {
  try {
    ip('link', 'add', BRIDGE, 'type', 'bridge')
    ip('link', 'set', BRIDGE, 'up')
    for (const host of HOSTS) {
      const [name, end] = [nameOf(host), `fv${process.pid}${host}`]
      ip('netns', 'add', name)
      ip('link', 'add', end, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
      ip('link', 'set', end, 'master', BRIDGE, 'up')
      ip('-n', name, 'addr', 'add', `${addressOf(host)}/24`, 'dev', 'eth0')
      for (const device of ['eth0', 'lo']) ip('-n', name, 'link', 'set', device, 'up')
    }
    // Refused at once where nobody listens; a firewall between them would let it wait.
    const knock = ['timeout', '3', 'bash', '-c', `echo > /dev/tcp/${addressOf(2)}/9`]
    return spawnSync('ip', ['netns', 'exec', nameOf(1), 'unshare', '--uts', ...knock]).status === 1
  } catch {
    return false
  }
}

function rejoin(): void {
  for (const host of HOSTS) spawnSync('ip', ['netns', 'del', nameOf(host)])
  spawnSync('ip', ['link', 'del', BRIDGE])
}

const isDivided = divide()
if (!isDivided) console.warn('no network namespaces here: the hosts are all this machine')
afterAll(rejoin)

const place = workplaces()

/** A command on a host of its own: `agent ADDRESS COMMAND…`, as ssh has it. */
function agentIn(folder: string): string {
  const path = join(folder, 'agent')
  const name = `fasp-${process.pid}-\${host##*.}`
  writeFileSync(
    path,
    `#!/bin/bash\nhost=$1; shift\nexec ip netns exec "${name}" unshare --uts bash -c "hostname ${name}; $*"\n`,
  )
  chmodSync(path, 0o755)
  return path
}

const ofMpich = (agent: string, hosts: string) => [
  ...['-launcher', 'rsh', '-launcher-exec', agent, '-iface', 'eth0', '-hosts', hosts],
]
/** What a launcher is told of hosts. */
const OPTIONS: Readonly<Record<string, typeof ofMpich>> = {
  'Open MPI': (agent, hosts) => [
    ...['--mca', 'plm_rsh_agent', agent, '--mca', 'btl', 'tcp,self'],
    ...['--mca', 'btl_tcp_if_include', 'eth0', '--mca', 'oob_tcp_if_include', 'eth0', '--host', hosts],
  ],
  MPICH: ofMpich,
  'the standard ABI': ofMpich,
}

const asked = (text: string, output: string, mpi: string) => [
  ...['prune', TINY_LLAMA, '-s', '0.3', '--method', 'best', '--calibration', text, '-o', output],
  ...['--seq-len', '32', '--held-out', '2', '--threads', '1', '--quiet', '--mpi', mpi],
]

/** `fasp ARGS`, a rank on each host. */
function onHosts({ name, mpirun }: Launcher, folder: string, args: readonly string[]): string[] {
  const agent = agentIn(folder)
  const hosts = isDivided ? OPTIONS[name](agent, HOSTS.map(addressOf).join(',')) : []
  const command = [...mpirun, ...hosts, '-n', '3', process.execPath, CLI, ...args]
  return isDivided ? [agent, addressOf(1), `cd ${folder} && exec ${command.join(' ')}`] : command
}

/** All that runs on a host. */
const processesOn = (host: number) =>
  execFileSync('ip', ['netns', 'pids', nameOf(host)], { encoding: 'utf8' })
    .split('\n')
    .filter(Boolean)
    .map(Number)

/** Of it the ranks. */
const ranksOn = (host: number) =>
  processesOn(host).filter(pid => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith(`${process.execPath}\0${CLI}\0`)
    } catch {
      return false // it has ended
    }
  })

/**
 * Milliseconds that ranks have to end from the moment that a host is cut off. The root misses the rank there 4 seconds (`--mpi-timeout`) after it
 * begins to wait for it; a rank that the launcher does not end misses the root after 9 more.
 */
const SOON = 13_000 + 15_000

describe.each(LAUNCHERS)('$name', launcher => {
  const { mpi } = launcher

  test('three hosts write what three ranks in one process write, byte for byte', async () => {
    const folder = await place()
    const [text, output, expected] = ['text.txt', 'out', 'expected'].map(path => join(folder, path))
    const options = { sparsity: 0.3, method: 'best', windows: 7, seqLen: 32, heldOut: 2, engine: { threads: 1 } }
    const calibration = [{ name: 'text.txt', text: async () => readFileSync(text, 'utf8') }]
    await Promise.all(
      inProcess(3).map(group => prune(TINY_LLAMA, { ...options, calibration, output: expected, group })),
    )
    const args = [...asked(text, output, mpi), '--windows', '7']
    const { code, stderr } = await runAll(onHosts(launcher, folder, args), folder)
    expect(code, stderr).toBe(0)
    const weights = (of: string) => readFileSync(join(of, 'model.safetensors'))
    expect(weights(output).equals(weights(expected))).toBe(true)
  })

  // Under MPICH calls of MPI itself block once a host is cut off, as docs/distributed.md says.
  if (launcher !== LAUNCHERS[0]) return
  test.runIf(isDivided)('a host that is cut off is named, and all other ranks end', async () => {
    // So much text that the run is far from over when the link is down, however long the kernel takes for that.
    const folder = await place({ 'text.txt': TEXT.repeat(60) })
    const args = [
      ...asked(join(folder, 'text.txt'), join(folder, 'out'), mpi),
      '--windows',
      '2048',
      '--mpi-timeout',
      '4s',
    ]
    let [stderr, over] = ['', false]
    const running = runAll(onHosts(launcher, folder, args), folder, {}, (child: ChildProcess) =>
      child.stderr!.on('data', text => (stderr += text)),
    )
    void running.finally(() => (over = true))
    while (!over && !readdirSync(folder).some(file => file.endsWith('.partial'))) await sleep(20)
    const link = (state: string) => ip('-n', nameOf(3), 'link', 'set', 'eth0', state)
    link('down')
    try {
      const cut = performance.now()
      const late = (limit: number) => performance.now() - cut > limit
      while ([1, 2].some(host => ranksOn(host).length > 0) && !late(SOON)) await sleep(20)
      expect([1, 2].flatMap(ranksOn), stderr).toEqual([])
      const said = stderr.split('\n').filter(line => line.startsWith('fasp: '))
      expect(said[0]).toMatch(/^fasp: rank 2 of 3: no sign of life for 4.0 s/)
      for (const more of said.slice(1)) expect(more).toMatch(/^fasp: rank 0 of 3: no sign of life for 9.0 s/)
      expect(readdirSync(folder).filter(file => /partial|^out$/.test(file))).toEqual([])
    } finally {
      link('up')
      // A launcher may wait for a host that it cannot reach.
      for (const pid of HOSTS.flatMap(processesOn)) spawnSync('kill', ['-9', `${pid}`])
      await running
    }
  })
})
