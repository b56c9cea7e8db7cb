// The files for clusters, as far as they can be checked without one. A builder of images builds the container file where there is one.
import { spawnSync } from 'node:child_process'
import { readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { validate } from 'dockerfile-utils'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { parseArguments } from '../src/cli/arguments.ts'
import prune from '../src/cli/prune.ts'
import { workplaces } from './fasp.ts'

const workplace = workplaces()
const pathOf = (name: string) => fileURLToPath(new URL(`../examples/cluster/${name}`, import.meta.url))
const read = (name: string) => readFileSync(pathOf(name), 'utf8')

test.each(['fasp.sbatch', 'mpijob.yaml', 'Containerfile'])('%s says that nobody has run it', name =>
  expect(read(name)).toMatch(/^#.*(Not run yet|Nobody has built it yet)\./m),
)

/** What follows `fasp prune` is what it takes. */
function expectTaken(args: readonly string[]): void {
  const { options, positionals } = parseArguments(args, prune.options)
  expect(positionals).toHaveLength(1)
  expect(options).toMatchObject({ sparsity: [0.3], method: 'best', resume: true })
}

test('the job for Kubernetes: replicas, hosts and names go together, and fasp takes its arguments', () => {
  const job = parse(read('mpijob.yaml'), { strict: true, uniqueKeys: true })
  expect([job.apiVersion, job.kind]).toEqual(['kubeflow.org/v2beta1', 'MPIJob'])
  const { mpiReplicaSpecs: replicas, sshAuthMountPath, slotsPerWorker, runLauncherAsWorker } = job.spec
  const [launcher, worker] = [replicas.Launcher, replicas.Worker].map(({ template }) => template.spec)
  const [{ args }] = launcher.containers
  const ranks = Number(args[args.indexOf('-n') + 1])
  expect(ranks).toBe(slotsPerWorker * (replicas.Worker.replicas + Number(runLauncherAsWorker)))
  expectTaken(args.slice(args.indexOf('prune') + 1))
  for (const { containers, volumes } of [launcher, worker])
    for (const { image, volumeMounts, securityContext } of containers) {
      expect([image, securityContext.runAsUser]).toEqual(['fasp', 1000])
      for (const { name } of volumeMounts)
        expect(volumes.map((volume: { name: string }) => volume.name)).toContain(name)
    }
  const [{ args: served, readinessProbe }] = worker.containers
  expect(read('Containerfile')).toContain(`sshd_config ${served.at(-1)}`)
  const settings = read('sshd_config')
  expect(settings).toContain(`Port ${readinessProbe.tcpSocket.port}\n`)
  expect(settings).toContain(`HostKey ${sshAuthMountPath}/`)
})

test('the job for Slurm: bash takes it, one rank a node, and fasp takes its arguments', () => {
  const { status, stderr } = spawnSync('bash', ['-n', pathOf('fasp.sbatch')], { encoding: 'utf8' })
  expect(status, stderr).toBe(0)
  const text = read('fasp.sbatch')
  const asked = text.split('\n').filter(line => line.startsWith('#SBATCH'))
  for (const line of asked) expect(line).toMatch(/^#SBATCH --[a-z-]+(=\S+)?$/)
  expect(asked).toContain('#SBATCH --ntasks-per-node=1')
  const command = /fasp prune ((?:.*\\\n)*.*)/.exec(text.slice(text.indexOf('\nsrun')))![1]
  const { stdout } = spawnSync('bash', ['-c', `printf '%s\\n' ${command}`], {
    encoding: 'utf8',
    env: { ...process.env, HOME: '/home/someone', SLURM_CPUS_PER_TASK: '64' },
  })
  expectTaken(stdout.trimEnd().split('\n'))
})

test('the container file is without a fault, and builds where there is a builder that gets its base', {
  timeout: 900_000,
}, async () => {
  const text = read('Containerfile')
  expect(validate(text)).toEqual([])
  const base = /^FROM (\S+)/m.exec(text)![1]
  const builder = ['podman', 'docker'].find(
    name => spawnSync(name, ['pull', '--quiet', base], { timeout: 120_000 }).status === 0,
  )
  if (!builder) return
  const folder = await workplace({ Containerfile: text, sshd_config: read('sshd_config') })
  const pack = spawnSync('npm', ['pack', '--pack-destination', folder], { cwd: pathOf('../..'), encoding: 'utf8' })
  renameSync(join(folder, pack.stdout.trim().split('\n').at(-1)!), join(folder, 'fasp.tgz'))
  const built = spawnSync(builder, ['build', '-t', 'fasp-test', '-f', 'Containerfile', '.'], {
    cwd: folder,
    encoding: 'utf8',
  })
  expect(built.status, built.stderr).toBe(0)
  expect(spawnSync(builder, ['run', '--rm', 'fasp-test', 'fasp', '--version']).status).toBe(0)
})
