// Every suite: `npm test` runs `unit`, which needs Node alone, .ci/run all of them. The others fail where what they run in is missing.
import { existsSync, mkdirSync } from 'node:fs'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

// Temporary files in memory, where the system has a place for them: each run of the command waits for the disk ten times.
if (!process.env.TMPDIR && existsSync('/dev/shm')) {
  process.env.TMPDIR = '/dev/shm/fasp-tests'
  mkdirSync(process.env.TMPDIR, { recursive: true })
}

/** Files that are imported as text, as `loader` in tsdown.config.ts has it. */
const TEXT = /\/src\/.*\.(py|html)$/

const SUITES = {
  unit: ['src/**/*.test.ts', 'test/*.test.ts'],
  // A Vulkan driver, a BLAS, OpenVINO, strace, a C compiler, leave to mount: .ci/machine.sh
  machine: ['test/machine/*.check.ts', 'src/**/*.devices.test.ts', 'test/*.devices.test.ts'],
  mpi: ['test/mpi/*.check.ts'], // Open MPI, MPICH, and one with the standard ABI: .ci/mpi.sh
  report: ['test/report/*.check.ts'], // Chromium: .ci/chromium.sh
  web: ['test/web/*.check.ts', ...(process.env.FASP_NIGHTLY ? ['test/web/*.nightly.ts'] : [])], // the same; builds the page into dist-web
  transformers: ['test/python/transformers.check.ts'], // Python; it makes its own virtual environments, some GB
  huggingface_hub: ['test/python/hub.check.ts'], // the same, of some MB
  'llama.cpp': ['test/llama-cpp/*.check.ts'], // installs node-llama-cpp into a cache folder
  'transformers.js': ['test/transformers-js/*.check.ts'], // Chromium
  install: ['test/install/*.check.ts'], // git, npm's registry: the package as users get it, its types, examples and demo
}

/** Which run one after the other: first the many small ones, then what needs both cores, then suites of one file each. */
const ORDER = ['unit', 'machine', 'mpi', 'web']

/** Files that take a minute and more, which would run alone at the end. Vitest begins with the largest. */
const LONG =
  /\/test\/((heal|resume|golden|families|demo)\.(devices\.)?test|\w+\/(failures|smollm2|goldens|transformers)\.)/

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    return [true, false].flatMap(long => sorted.filter(({ moduleId }) => LONG.test(moduleId) === long))
  }
}

export default defineConfig({
  plugins: [
    {
      name: 'python-as-text',
      enforce: 'pre',
      transform: (code, id) =>
        TEXT.test(id) ? { code: `export default ${JSON.stringify(code)}`, moduleType: 'js' } : undefined,
    },
  ],
  test: {
    reporters: ['default', './test/longest.ts'],
    sequence: { sequencer: LongestFirst },
    projects: Object.entries(SUITES).map(([name, include]) => ({
      extends: true,
      test: {
        name,
        include,
        isolate: name !== 'unit', // its files share what they import: half of their time was importing it
        setupFiles: ['test/setup.ts'],
        env: {
          FASP_PLACES: process.env.FASP_PLACES ?? (name === 'machine' ? 'webgpu blas openvino' : 'cpu'), // test/devices.ts
          ...(name === 'unit' && { OMP_NUM_THREADS: '1' }), // two files run at once, and small products gain nothing from a second thread
        },
        server: { deps: { external: [/\/dist\//] } }, // as Node runs it
        sequence: { groupOrder: ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length },
        // Two cores: test files that run models share them badly. The last suites wait for other programs and for registries, too.
        maxWorkers: ORDER.includes(name) ? 2 : 3,
        // The others load and prune models of some size, or install packages, in one test or hook.
        testTimeout: name === 'unit' ? 60_000 : 240_000,
        hookTimeout: name === 'unit' ? 60_000 : 480_000,
      },
    })),
  },
})
