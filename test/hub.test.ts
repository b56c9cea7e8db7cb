// Models on the Hub as a user has them: the binary against a Hub on this machine, with a cache of its own.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { fasp, INTERRUPTED, put, QUICK, refused, workplaces } from './fasp.ts'
import { expectSame, filesBelow, hubPlace } from './hub.ts'
import { NIGHTLY, someOf } from './nightly.ts'
import { tinyOf2Layers } from './tiny.ts'

const workplace = workplaces()
const place = hubPlace()
const { server } = place
const ID = 'me/tiny'
const PRUNE = ['prune', ID, '-s', '0.2', '-o', 'out', '--method', 'plain', ...QUICK]
const MODEL = tinyOf2Layers()
const FILES = filesBelow(MODEL)
const WEIGHTS = FILES['model.safetensors']

async function run(folder: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const { code, stdout, stderr } = await fasp(args, { folder, env: { ...place.env, ...env } })
  expect(code, stderr).toBe(0)
  expect(`${stdout}${stderr}`, 'codes that steer a terminal').not.toMatch(/\r|\p{Cc}\[/u)
  return { stdout, stderr, lines: stdout.trimEnd().split('\n') }
}
const refusedHub = (folder: string, args: readonly string[], refusal: Parameters<typeof refused>[2]) =>
  refused(folder, args, { ...refusal, env: { ...place.env, ...refusal.env } })

describe('a model on the Hub', () => {
  test('is pruned like the same model in a folder', async () => {
    server.put(ID, { ...FILES, 'README.md': '---\nlicense: mit\n---\n' })
    const folder = await workplace()
    const { stderr } = await run(folder, PRUNE)
    expect(stderr).toMatch(
      /^download: 0\.0 kB of 1\.1 MB\ndownload: 1\.1 MB of 1\.1 MB(?: {2}[\d.]+ [kMG]B\/s)? {2}took [\d.]+ s\nprune: /,
    )
    await run(folder, ['prune', MODEL, '-s', '0.2', '-o', 'local', '--method', 'plain', ...QUICK])
    const [out, local] = [filesBelow(join(folder, 'out')), filesBelow(join(folder, 'local'))]
    const { 'README.md': card, 'fasp.json': recipe, ...rest } = out
    const { 'README.md': _, 'fasp.json': __, ...expected } = local
    expectSame(rest, expected)
    expect(JSON.parse(recipe.toString()).source).toMatchObject({ name: 'tiny', format: 'huggingface' })
    expect(card.toString()).toContain('\nbase_model: me/tiny\nlicense: "mit"\n')
    expect(readdirSync(place.home)).toEqual(['hub'])
  })
  test('is pruned by three runs at once that share a cache and its incomplete downloads', async () => {
    server.put(ID, FILES)
    const folder = await workplace()
    const outputs = ['one', 'two', 'three']
    await Promise.all(
      outputs.map(output => run(folder, ['prune', ID, '-s', '0.2', '--method', 'plain', ...QUICK, '-o', output])),
    )
    const [one, ...others] = outputs.map(output => filesBelow(join(folder, output)))
    for (const other of others) expectSame(other, one)
    expect(readdirSync(join(place.home, 'hub/models--me--tiny/blobs')).filter(name => name.includes('.'))).toEqual([])
    expect(readdirSync(folder).sort()).toEqual([...outputs, 'text.txt'].sort())
  })
  test('serves every command, offline from the second time on', async () => {
    const commit = server.put(ID, FILES)
    const folder = await workplace()
    const { stderr, stdout } = await run(folder, ['inspect', ID])
    expect(stdout).toContain('2 layers, hidden size 128')
    expect(stderr).toMatch(/^download: /)
    const offline = { HF_HUB_OFFLINE: '1', HF_ENDPOINT: 'http://127.0.0.1:9' }
    const evaluated = await run(
      folder,
      ['eval', ID, '--text', 'text.txt', '--seq-len', '32', '--windows', '2', '--json'],
      offline,
    )
    expect(JSON.parse(evaluated.lines.at(-1)!).model).toBe(ID)
    await run(folder, ['generate', `${ID}@${commit}`, '-p', 'Once', '--max-tokens', '2'], offline)
    const plan = await run(folder, ['prune', ID, '-s', '0.2', '--dry-run'], offline)
    expect(plan.stdout).toContain('FFN neurons per layer: 288 of 384.')
    if (NIGHTLY) await run(folder, ['bench', ID, '--runs', '1'], offline)
  })
  test('with --text it is fetched once', async () => {
    server.put(ID, FILES)
    const { lines } = await run(await workplace(), [...PRUNE, '--text', 'text.txt', '--text-windows', '1', '--json'])
    expect(JSON.parse(lines.at(-1)!).perplexities.dense[0].windows).toBe(1)
    expect(server.downloads().filter(({ store }) => store)).toHaveLength(1)
  })
  test('with texts that are named', async () => {
    const documents = readFileSync(fileURLToPath(new URL('fixtures/text/documents-none.parquet', import.meta.url)))
    const files = { 'default/train/0000.parquet': documents, 'default/test/0000.parquet': documents }
    const revision = server.put('datasets/org/texts', files, {}, 'refs/convert/parquet')
    const folder = await workplace({ c4: 'a file of this name' })
    const windows = ['--windows', '1', '--held-out', '0', '--seq-len', '8']
    const name = 'hf:org/texts'
    const args = ['prune', MODEL, '-s', '0.2', '-o', 'out', ...windows, '--calibration', name, '--text', name]
    const { lines } = await run(folder, [...args, '--json'])
    const { calibration, perplexities } = JSON.parse(lines.at(-1)!)
    const source = (split: string) => ({ dataset: 'org/texts', file: `default/${split}/0000.parquet`, revision })
    expect(calibration.texts).toMatchObject([{ name: 'texts:train', source: source('train') }])
    for (const one of [perplexities.dense, perplexities.pruned])
      expect(one).toMatchObject([{ file: 'hf:org/texts:test', source: source('test') }])
    await run(folder, [
      'compare',
      MODEL,
      '--methods',
      'magnitude',
      '-s',
      '0.2',
      '--text',
      name,
      '--seq-len',
      '8',
      ...['--calibration', name, '--windows', '1', '-o', 'r.json'],
    ])
    const { protocol, runs } = JSON.parse(readFileSync(join(folder, 'r.json'), 'utf8'))
    expect([protocol.text[0].file, protocol.calibration[0].file]).toEqual(['texts:test', 'texts:train'])
    expect(runs[1].perplexity[0].source).toEqual(source('test'))
    await refusedHub(folder, ['eval', MODEL, '--text', 'c4'], { says: ['c4: unknown kind of text file'] })
  })
  test('one GGUF file of it', async () => {
    server.put(ID, { 'x.gguf': 'PK and so on' })
    const args = ['inspect', `${ID}/x.gguf`]
    await refusedHub(await workplace(), args, { says: ['x.gguf', 'not a GGUF file'] })
  })
  test('that nobody has', async () => {
    const folder = await workplace()
    await refusedHub(folder, PRUNE, {
      says: ['me/tiny: there is no such file or folder, and no such model at', 'hf auth login'],
    })
    await refusedHub(folder, PRUNE, { env: { HF_HUB_OFFLINE: '1' }, says: ['HF_HUB_OFFLINE forbids to fetch it'] })
    await refusedHub(folder, PRUNE, { env: { HF_ENDPOINT: 'nowhere' }, code: 2, says: ['HF_ENDPOINT is "nowhere"'] })
  })
  test('is not fetched where the output exists', async () => {
    server.put(ID, FILES)
    const folder = await workplace({ 'out/notes.md': 'mine' })
    for (const more of [[], ['--text', 'text.txt']])
      await refusedHub(folder, [...PRUNE, ...more], { says: ['out exists already'] })
    expect(server.requests).toEqual([])
  })
  const signals = someOf(['SIGINT', 'SIGKILL'] as const, signal => signal === 'SIGINT')
  test.each(signals)('goes on after %s where it stopped', async signal => {
    server.put(ID, FILES)
    const folder = await workplace()
    server.fault = ({ store }) => (store ? { stallAt: 400_000 } : undefined)
    let sent = false
    const blobs = join(place.home, 'hub/models--me--tiny/blobs')
    const interrupted = fasp(PRUNE, {
      folder,
      env: place.env,
      onProgress: (_, child) => {
        if (sent) return
        sent = true
        const timer = setInterval(() => {
          const names = existsSync(blobs) ? readdirSync(blobs) : []
          const sizes = names.map(name => statSync(join(blobs, name), { throwIfNoEntry: false })?.size) // some are renamed
          if (!sizes.includes(400_000)) return
          clearInterval(timer)
          child.kill(signal)
        }, 20)
      },
    })
    const { stderr: said, code, stdout } = await interrupted
    expect(signal === 'SIGINT' ? INTERRUPTED : [null]).toContain(code)
    expect(stdout).toBe('')
    const kept = 'fasp: interrupted; what is done is kept, and the same command goes on from there.'
    if (signal === 'SIGINT') expect(said.split('\n').at(-2)).toBe(kept)
    expect(readdirSync(folder)).toEqual(['text.txt'])
    server.fault = () => undefined
    server.downloads()
    const { stderr } = await run(folder, PRUNE)
    expect(stderr).toMatch(/^download: 0\.0 kB of 652\.0 kB\n/)
    expect(server.downloads().map(({ range }) => range)).toEqual(['bytes=400000-', 'bytes=400000-'])
    expect(readdirSync(blobs).filter(name => name.endsWith('.incomplete'))).toEqual([])
  })
})

test('the client of the Hub is loaded when a model on it is asked for, not before', () => {
  const dist = fileURLToPath(new URL('../dist', import.meta.url))
  const built = readdirSync(dist).filter(name => name.endsWith('.js'))
  const text = built.map(name => readFileSync(join(dist, name), 'utf8')).join('\n')
  expect(text).toContain('import("@huggingface/hub")')
  const loaded = (name: string) => new RegExp(`^(import|export)\\b.*["']${name}["']`, 'm')
  // What pushes a model loads the client at once, and is itself loaded when a model is pushed.
  const pushing = built.filter(name => loaded('@huggingface/hub').test(readFileSync(join(dist, name), 'utf8')))
  expect(pushing.map(name => name.replace(/-.*/, ''))).toEqual(['writing'])
  expect(text).toContain(`import("./${pushing[0]}")`)
  expect(text).not.toMatch(loaded(`\\./${pushing[0]}`))
})

describe('the cache', () => {
  test('where files may not grow (ulimit -f)', async () => {
    server.put(ID, FILES)
    const wrap = ['bash', '-c', 'ulimit -f 100 && exec "$@"', 'limited']
    await refusedHub(await workplace(), PRUNE, { wrap, says: ['cannot write', 'ulimit -f'] })
  })
})

describe('push', () => {
  const token = { HF_TOKEN: 'hf_writer' }

  test('what was pruned comes back as it was', async () => {
    const folder = await workplace()
    await run(folder, ['prune', MODEL, '-s', '0.2', '-o', 'out', ...QUICK])
    await put(folder, { 'out/.notes': 'mine' })
    const { stdout, stderr } = await run(folder, ['push', 'out', 'me/smaller', '--private', '--json'], token)
    const { refs } = server.repos.get('me/smaller')!
    const url = `${server.url}/me/smaller/commit/${refs.get('main')}`
    expect(stderr).toMatch(
      /^Made http.+\/me\/smaller\.\nupload: 0\.0 kB of (9\d\d\.\d kB)\nupload: \1 of \1 .+took [\d.]+ s\n$/,
    )
    expect(JSON.parse(stdout)).toMatchObject({ id: 'me/smaller', branch: 'main', created: true, url })
    rmSync(join(folder, 'out/.notes'))
    const home = mkdtempSync(join(tmpdir(), 'fasp-hub-other-'))
    const inspected = await run(folder, ['inspect', 'me/smaller', '--json'], { ...token, HF_HOME: home })
    expect(JSON.parse(inspected.lines.at(-1)!).ffnWidth).toBe(288)
    const snapshot = join(home, 'hub/models--me--smaller/snapshots', refs.get('main')!)
    expectSame(filesBelow(snapshot), filesBelow(join(folder, 'out')))
    rmSync(home, { recursive: true })
    const again = await run(folder, ['push', 'out', 'me/smaller'], token)
    expect(again.stdout).toMatch(/^Pushed 7 files, 9\d\d\.\d kB: http.+\/me\/smaller\/commit\/\w+\n$/)
  })
  test('options', async () => {
    server.put(ID, { 'config.json': '{}' })
    const folder = await workplace()
    const push = ['push', MODEL, ID]
    await refusedHub(folder, push, { env: token, says: ['me/tiny was not written by fasp', '--overwrite'] })
    const pull = await run(folder, [...push, '--create-pr'], token)
    expect(pull.stdout).toContain(`${server.url}/me/tiny/discussions/1\n`)
    await run(folder, [...push, '--revision', 'dense', '--message', 'As it was'], token)
    await run(folder, [...push, '--overwrite'], token)
    for (const ref of ['refs/pr/1', 'dense', 'main'])
      expect(server.files(ID, ref)['model.safetensors'].equals(WEIGHTS), ref).toBe(true)
  })
  test('Ctrl-C while many parts are on their way', async () => {
    const folder = await workplace({
      'big/config.json': '{}',
      'big/model.safetensors': Buffer.alloc(9_000_000, 'weights'),
    })
    server.fault = ({ store }) => (store ? { delay: 5000 } : undefined)
    let sent = false
    await refusedHub(folder, ['push', 'big', ID], {
      env: token,
      code: 130,
      says: ['fasp: interrupted'],
      onProgress: (_, child) => {
        if (sent) return
        sent = true
        const timer = setInterval(() => {
          if (server.requests.filter(({ store }) => store).length < 5) return
          clearInterval(timer)
          child.kill('SIGINT')
        }, 20)
      },
    })
    expect(Object.keys(server.files(ID))).toEqual(['.gitattributes'])
  })
  test('what is wrong', async () => {
    const folder = await workplace()
    const usage = (args: string[], says: string[]) => refusedHub(folder, args, { code: 2, says })
    await usage(['push'], ['push takes a folder and a name on the Hub; got nothing.'])
    await usage(['push', 'a', 'b', 'c'], ['got a, b, c'])
    await usage(['push', MODEL, 'tiny'], ['"tiny" is no name of a model on the Hub; it must be of the form org/name'])
    await refusedHub(folder, ['push', 'nothing', ID], { says: ['nothing: is no folder that can be read'] })
    await refusedHub(folder, ['push', MODEL, ID], { says: ['me/tiny: to push, log in with "hf auth login"'] })
    await refusedHub(folder, ['push', MODEL, ID], {
      env: { HF_TOKEN: 'hf_reader' },
      says: ['forbids it', 'the right'],
    })
    await refusedHub(folder, ['push', MODEL, ID], {
      env: { HF_TOKEN: 'x' },
      says: ['does not accept the token in HF_TOKEN'],
    })
  })
})
