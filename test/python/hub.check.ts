// The Hub's cache and repositories, shared with Python's huggingface_hub in both directions: with the version that transformers 5 runs on, and
// with that of transformers 4. usage: npx vitest run --project huggingface_hub
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { hubEnvironment } from '../../src/hub/environment.node.ts'
import { fetchModel, openCheckpoint, push } from '../../src/node.ts'
import { TINY_LLAMA } from '../fasp.ts'
import { expectSame, filesBelow, hubPlace, TINY_FILES, told } from '../hub.ts'
import { environment } from './environment.ts'

const place = hubPlace()
const { server } = place
const script = fileURLToPath(new URL('hub.py', import.meta.url))
const ID = 'me/tiny'
const fetch = async (id = ID) => (await told(fetchModel(id))).result

const VERSIONS = ['2.4.0', '0.36.2']
describe.each(VERSIONS)('huggingface_hub %s', async version => {
  const interpreter = await environment(`huggingface_hub-${version}`, `huggingface_hub==${version}`)
  /** Runs hub.py with these variables, those that are empty left out. */
  async function python(args: readonly string[], variables: Readonly<Record<string, string>> = place.env) {
    const set = Object.entries({ ...variables, HOME: homedir() }).filter(([, value]) => value !== '')
    const options = { env: Object.fromEntries(set), maxBuffer: 2 ** 24 }
    const { stdout } = await promisify(execFile)(interpreter, [script, ...args], options)
    return JSON.parse(stdout)
  }

  test('finds what fasp has fetched, without the network', async () => {
    const commit = server.put(ID, { ...TINY_FILES, 'flax_model.msgpack': 'x' })
    const folder = await fetch()
    const names = Object.keys(TINY_FILES)
    const offline = { ...place.env, HF_HUB_OFFLINE: '1' }
    expect(await python(['cached', ID, ...names], offline)).toEqual(names.map(name => join(folder, name)))
    expect(await python(['cached-snapshot', ID], offline)).toBe(folder)
    const bytes = Object.values(TINY_FILES).reduce((sum, file) => sum + file.length, 0)
    expect(await python(['scan'])).toEqual({
      repos: [{ id: ID, bytes, refs: { main: commit }, files: names.sort() }],
      warnings: [],
    })
  })
  test('fetches only what fasp has left out', async () => {
    server.put(ID, { ...TINY_FILES, 'flax_model.msgpack': 'x' })
    const folder = await fetch()
    server.downloads()
    expect(await python(['snapshot', ID])).toBe(folder)
    const fetched = server.downloads().map(({ path }) => path.split('/').at(-1))
    expect(fetched.sort()).toEqual(['.gitattributes', 'flax_model.msgpack'])
  })
  test('leaves nothing for fasp to fetch', async () => {
    server.put(ID, { ...TINY_FILES, 'onnx/model.onnx': 'x' })
    const folder = await python(['snapshot', ID])
    server.downloads()
    expect(await fetch()).toBe(folder)
    expect(server.downloads()).toEqual([])
    vi.stubEnv('HF_HUB_OFFLINE', '1')
    const checkpoint = await openCheckpoint(ID)
    expect([checkpoint.name, checkpoint.card?.hubId]).toEqual([ID, ID])
    await checkpoint.close()
  })
  test('follows a branch that fasp has fetched anew, and the other way round', async () => {
    server.put(ID, TINY_FILES)
    await python(['snapshot', ID])
    server.put(ID, { ...TINY_FILES, 'README.md': 'second' })
    const second = await fetch()
    expect(await python(['cached-snapshot', ID])).toBe(second)
    server.put(ID, { ...TINY_FILES, 'README.md': 'third' })
    const third = await python(['snapshot', ID])
    vi.stubEnv('HF_HUB_OFFLINE', '1')
    expect(await fetch()).toBe(third)
  })
  test('downloads what fasp has pushed', async () => {
    vi.stubEnv('HF_TOKEN', 'hf_writer')
    await told(push(TINY_LLAMA, 'me/pushed'))
    const { '.gitattributes': _, ...files } = filesBelow(await python(['snapshot', 'me/pushed']))
    expectSame(files, TINY_FILES)
  })
  test('uploads what fasp then fetches', async () => {
    const env = { ...place.env, HF_TOKEN: 'hf_writer', HF_HUB_DISABLE_XET: '1' } // our Hub has no Xet
    await python(['upload', TINY_LLAMA, 'me/uploaded'], env)
    expectSame(filesBelow(await fetch('me/uploaded')), TINY_FILES)
  })

  afterAll(() => rmSync(base, { recursive: true }))
  const base = mkdtempSync(join(tmpdir(), 'fasp-env-'))
  mkdirSync(join(base, 'home'))
  writeFileSync(join(base, 'home/token'), ' hf_file\n')
  writeFileSync(join(base, 'other'), 'hf_other')
  const HF_HOME = join(base, 'home')
  const environments: Record<string, string>[] = [
    { XDG_CACHE_HOME: base },
    { HF_HOME, HF_ENDPOINT: 'https://hub.example.org/api//' },
    { HF_HOME: '$BASE/home', BASE: base },
    { HF_HOME: '~/fasp-nowhere/$UNKNOWN' },
    { HF_HOME, HF_HUB_CACHE: `$\{BASE}/hub`, BASE: base, HUGGINGFACE_HUB_CACHE: '/elsewhere' },
    { HF_HOME, HUGGINGFACE_HUB_CACHE: '/elsewhere' },
    { HF_HOME, HF_TOKEN: ' hf_own ', HUGGING_FACE_HUB_TOKEN: 'hf_old' },
    { HF_HOME, HUGGING_FACE_HUB_TOKEN: 'hf_old', HF_HUB_OFFLINE: 'ON' },
    { HF_HOME, HF_TOKEN_PATH: join(base, 'other'), HF_HUB_OFFLINE: '1' },
    { HF_HOME, HF_TOKEN_PATH: join(base, 'nothing'), HF_HUB_OFFLINE: '0' },
    { HF_HOME, HF_HUB_OFFLINE: 'no', TRANSFORMERS_OFFLINE: 'yes' },
    { HF_HOME, TRANSFORMERS_OFFLINE: 'True' },
  ]
  test.each(environments)('reads the environment as fasp does: %j', async variables => {
    const theirs = await python(['environment'], variables)
    const { endpoint, cache, token = null, offline } = await hubEnvironment(variables)
    expect({ endpoint, cache, token, offline }).toEqual(theirs)
  })
})
