// The page that prunes in a browser, used as people do: in Chromium, with WebAssembly; what it saves in llama.cpp, too (a cache folder has it).
// Needs `npm run build`. FASP_SCREENSHOTS=<folder> keeps pictures to look at.
import { execFileSync } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseHTML } from 'linkedom'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { memorySource } from '../../src/base/bytes.ts'
import { openZip } from '../../src/formats/zip.ts'
import { memoryContext } from '../../src/forward/context.ts'
import * as node from '../../src/node.ts'
import { DARK, LIGHT } from '../../src/report/plot.ts'
import { allowedFor } from '../../src/write/verify/agreement.ts'
import { LLAMA_CPP } from '../../src/write/verify/llama-cpp.node.ts'
import { verifyIn } from '../../src/write/verify/runtime.node.ts'
import { divergenceOf } from '../divergence.ts'
import { fasp, TINY_LLAMA } from '../fasp.ts'
import {
  begin,
  giveText,
  leave,
  type Opened,
  openSite,
  prune,
  readable,
  saveOften,
  step,
  TEXT,
  takeTiny,
} from './browser.ts'

/** Of some windows. */
const MEASURED = TEXT.slice(0, 4000)

let site: Awaited<ReturnType<typeof openSite>>
let folder: string
let llamaCpp: string // what to import
beforeAll(async () => {
  const script = fileURLToPath(new URL('../../scripts/llama-cpp.mjs', import.meta.url))
  const installed = execFileSync(process.execPath, [script], { encoding: 'utf8' }).trim()
  llamaCpp = pathToFileURL(join(installed, 'node_modules/node-llama-cpp/dist/index.js')).href
  folder = await mkdtemp(join(tmpdir(), 'fasp-page-'))
  site = await openSite()
})
afterAll(async () => {
  await site?.close()
  await rm(folder, { recursive: true, force: true })
})

const figure = async (page: Page, name: string): Promise<string> => {
  const tile = page.locator('.figures > div').filter({ has: page.getByText(name, { exact: true }) })
  return (await tile.locator('dd').first().textContent())!
}

/** Paths of all files of the page's own disk. */
const onDisk = (page: Page): Promise<string[]> =>
  page.evaluate(`(async () => {
    const found = []
    const walk = async (directory, path) => {
      for await (const [name, one] of directory.entries())
        if (one.kind === 'directory') await walk(one, path + name + '/')
        else found.push(path + name)
    }
    await walk(await navigator.storage.getDirectory(), '')
    return found
  })()`)

async function saved(page: Page, button: string): Promise<string> {
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: button }).click(),
  ])
  const path = join(folder, download.suggestedFilename())
  await download.saveAs(path)
  return path
}

describe('the whole way with the tiny model', () => {
  let opened: Opened
  let page: Page
  beforeAll(async () => {
    opened = await site.open({ acceptDownloads: true })
    page = opened.page
  })

  test('what it is, before a model and after', async () => {
    await readable(page, 'start')
    await page.getByRole('button', { name: 'Take the tiny model' }).click()
    await page.getByRole('heading', { name: 'tiny-llama' }).waitFor()
    expect(await figure(page, 'Parameters')).toBe('1.3 M')
    expect(await figure(page, 'Layers')).toContain('6')
    expect(await page.getByText('67.4 % FFN: cut by all methods').isVisible()).toBe(true)
    await readable(page, 'model')
    await page.getByRole('button', { name: 'Next: how much' }).click()
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('How much smaller?')
  })

  test('the plan moves with the slider, as the library plans', async () => {
    const at = async (sparsity: number) =>
      (await node.planPrune(TINY_LLAMA, { sparsity })).widths.after[0].ffn.toString()
    const slider = page.getByRole('slider', { name: 'Take out' })
    await expect.poll(() => figure(page, 'FFN')).toBe(`${await at(0.2)}of 384 neurons a layer`)
    await slider.fill('50')
    await expect.poll(() => figure(page, 'FFN')).toBe(`${await at(0.5)}of 384 neurons a layer`)
    await page.getByRole('radio', { name: 'Fits a size' }).check()
    await page.getByLabel('Weights of at most').fill('2')
    await expect.poll(async () => Number((await figure(page, 'Weights')).split(' ')[0])).toBeLessThanOrEqual(2)
    await page.getByRole('radio', { name: /^Runs anywhere/ }).check()
    await slider.fill('20')
    const picture = process.env.FASP_PICTURE // README's: FASP_PICTURE=docs/page.png
    if (!picture) return
    await page.emulateMedia({ colorScheme: 'light' })
    await page.screenshot({ path: picture, clip: { x: 160, y: 0, width: 960, height: 704 } })
  })

  test('what is wrong is said as the library says it', async () => {
    await page.getByText('Options of the method').click()
    const method = page.getByLabel('Method, as on the command line')
    await method.fill('stok')
    const alert = page.getByRole('alert')
    const { message } = await node.planPrune(TINY_LLAMA, { sparsity: 0.2, method: 'stok' }).catch(error => error)
    await expect.poll(() => alert.textContent()).toBe(message)
    expect(await page.getByRole('button', { name: 'Prune' }).isDisabled()).toBe(true)
    await method.fill('')
    await alert.waitFor({ state: 'detached' })
    await page.getByText('Options of the method').click()
  })

  test('before the engine is asked for there are 300 kB of script at most, whatever is done', async () => {
    const names = (await readdir(join(site.folder, 'assets'))).filter(name => name.endsWith('.js'))
    // With work begin the worker that computes, and the steps that show it.
    const withWork = names.filter(name => /^(computing|later)-/.test(name))
    expect(withWork).toHaveLength(2)
    const reached = new Set<string>()
    const follow = async (path: string): Promise<void> => {
      const text = await readFile(path, 'utf8')
      for (const name of names.filter(name => text.includes(name) && !withWork.includes(name) && !reached.has(name))) {
        reached.add(name)
        await follow(join(site.folder, 'assets', name))
      }
    }
    await follow(join(site.folder, 'index.html'))
    const kinds = [...reached].map(name => name.split('-')[0])
    expect(kinds).toEqual(expect.arrayContaining(['index', 'planning', 'browser', 'checksum', 'cut'])) // Hub, vocabulary
    const sizes = await Promise.all(
      [...reached].map(async name => (await stat(join(site.folder, 'assets', name))).size),
    )
    expect(sizes.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThan(300_000)
    const scripts = opened.requests.map(({ url }) => url).filter(url => /\.m?js$/.test(url))
    expect(scripts.length).toBeGreaterThan(1)
    for (const url of scripts) expect(reached).toContain(url.replace(/^.*\//, ''))
  })

  test('prunes, and shows what each layer loses', async () => {
    await giveText(page)
    await readable(page, 'amount')
    await page.getByRole('button', { name: 'Prune' }).click()
    await page.locator('.errors tbody tr').first().waitFor()
    await step(page, 'What came out')
    expect(await figure(page, 'Parameters')).toBe('−16.9 %1.3 M → 1.1 M')
    await page.getByText('What each layer lost').click()
    expect(await page.locator('.errors tbody tr').count()).toBe(6)
    expect(await page.getByRole('row', { name: /^0 288 of 384/ }).isVisible()).toBe(true)
  })

  test('the result is on the disk that the browser gives, in the place of the one before', async () => {
    expect((await onDisk(page)).filter(name => /result \d+\/model\.safetensors$/.test(name))).toHaveLength(1)
    await page.getByRole('button', { name: 'Try another amount' }).click()
    await prune(page)
    const files = await onDisk(page)
    expect(files.filter(name => name.endsWith('model.safetensors'))).toHaveLength(1)
    expect(files.filter(name => name.includes('scratch'))).toEqual([])
  })

  test('both go on with a text, and are measured on another', async () => {
    await page.getByRole('button', { name: 'Write on' }).click()
    await expect.poll(() => page.getByText('tokens/s').count(), { timeout: 60_000 }).toBe(2)
    const dense = await node.generate(TINY_LLAMA, 'Once upon a time', { maxTokens: 20 })
    const written = await page.getByRole('article', { name: 'As it was' }).locator('p').textContent()
    expect(written!.slice(0, 60)).toBe(`Once upon a time${dense.text}`.slice(0, 60))
    await page.getByLabel('Text that the model').fill(MEASURED)
    await page.getByRole('button', { name: 'Measure' }).click()
    await page.getByText('Same next token').waitFor()
    const text = [{ name: 'x', text: async () => MEASURED }]
    const { perplexity } = await node.evaluate(TINY_LLAMA, { text, windows: 32, seqLen: 256 })
    const found = Number.parseFloat(await figure(page, 'As it was'))
    expect(found / perplexity[0].perplexity).toBeCloseTo(1, 2)
    await readable(page, 'result')
  })

  test('on held-out text the model is as far from what it was as its logits say', async () => {
    await using engine = node.openEngine()
    await using dense = await node.openModel(TINY_LLAMA)
    let heldOut: readonly Int32Array[] = []
    const onEvent = (event: node.ProgressEvent) => {
      if (event.type === 'windows') heldOut = event.heldOut!
    }
    const calibration = [{ name: 'your-text.txt', text: async () => TEXT }]
    const output = join(folder, 'as-far')
    await node.prune(dense, { sparsity: 0.2, windows: 8, seqLen: 64, calibration, output, onEvent })
    await using pruned = await node.openModel(output)
    const { kl, topAgreement } = await divergenceOf(dense, pruned, engine, heldOut)
    const [, same, distance] = /^([\d.]+) %of next tokens; KL ([\d.]+)$/.exec(
      await figure(page, 'Agreement on held-out text'),
    )!
    expect(Number(same) / 100).toBeCloseTo(topAgreement, 2)
    expect(Number(distance)).toBeCloseTo(kl, 2)
    expect(kl).toBeGreaterThan(0.01)
  })

  test('what is taken away is what Node makes', async () => {
    const calibration = [{ name: 'your-text.txt', text: async () => TEXT }]
    const options = { sparsity: 0.2, windows: 8, seqLen: 64, calibration }
    const output = join(folder, 'node')
    const here = await node.prune(TINY_LLAMA, { ...options, output })
    const shapes = async (path: string) => (await node.inspect(path)).tensors.map(({ name, shape }) => [name, ...shape])
    const gguf = await saved(page, 'Save GGUF')
    expect(await shapes(gguf)).toEqual(await shapes(output))
    expect((await node.inspect(gguf)).dtypes).toHaveProperty('BF16')
    const zip = await openZip(memorySource(await readFile(await saved(page, 'Save safetensors')), 'zip'))
    expect([...zip.members.keys()]).toContain('tiny-llama-pruned/model.safetensors')
    const recipe = await zip.read(zip.members.get('tiny-llama-pruned/fasp.json')!, 2 ** 20)
    const { layers } = JSON.parse(new TextDecoder().decode(recipe)) as node.PruneResult
    for (const [i, { ffn }] of layers.entries()) {
      const kept = new Set(here.layers[i].ffn!.kept)
      expect(ffn!.kept.length).toBe(kept.size)
      expect(ffn!.kept.filter(column => !kept.has(column)).length).toBeLessThan(kept.size / 100) // near ties
    }
    expect(await page.locator('pre').textContent()).toBe(
      'fasp prune tiny-llama -s 0.2 -o tiny-llama-pruned --calibration your-text.txt --windows 8 --seq-len 64',
    )
  })

  test('the command breaks between its words, at no width in one', async () => {
    for (const width of [1280, 640, 500, 430, 390, 360, 320]) {
      await page.setViewportSize({ width, height: 900 })
      const words = await page.locator('.command code').evaluate(code => {
        const text = document.createTreeWalker(code, NodeFilter.SHOW_TEXT)
        const parts: Text[] = []
        while (text.nextNode()) parts.push(text.currentNode as Text)
        const whole = parts.map(({ data }) => data).join('')
        const at = (offset: number) => {
          for (const part of parts) {
            if (offset <= part.length) return [part, offset] as const
            offset -= part.length
          }
          throw new Error('beyond the text')
        }
        return [...whole.matchAll(/\S+/g)].map(({ 0: word, index }) => {
          const range = document.createRange()
          range.setStart(...at(index))
          range.setEnd(...at(index + word.length))
          const boxes = [...range.getClientRects()].filter(({ width }) => width > 0)
          return { word, lines: new Set(boxes.map(({ top }) => Math.round(top))).size }
        })
      })
      expect(words).toHaveLength(13)
      expect(
        words.filter(({ lines }) => lines > 1),
        `${width} px`,
      ).toEqual([])
    }
    await page.setViewportSize({ width: 1280, height: 900 })
  })

  test('what is taken away as GGUF llama.cpp opens, and gives the same logits and the same text', async () => {
    await using engine = node.openEngine()
    const child = new URL('../../dist/llama-cpp-child.js', import.meta.url)
    for (const [type, file] of [
      ['', 'BF16'],
      ['Q8_0', 'Q8_0'],
    ]) {
      await page.getByLabel('Type of GGUF').selectOption(type)
      const path = await saved(page, 'Save GGUF')
      await using model = await node.openModel(path)
      const on = { ...LLAMA_CPP, child }
      const said = await verifyIn(memoryContext(engine), model, on, [path], allowedFor(file, false), llamaCpp)
      expect(said).toMatch(/llama\.cpp/)
      expect(said).not.toMatch(/not checked/i)
    }
  })

  test('the report is that of the command line, but for the machine', async () => {
    await writeFile(join(folder, 'your-text.txt'), TEXT)
    const given = ['-s', '0.2', '--windows', '8', '--seq-len', '64', '--calibration', 'your-text.txt']
    const run = await fasp(['prune', TINY_LLAMA, '-o', 'told', '--report', 'told.html', ...given], { folder })
    expect(run.code).toBe(0)
    const read = async (path: string) => {
      const { document } = parseHTML(await readFile(path, 'utf8'))
      const all = (what: string) => [...document.querySelectorAll(what)]
      const table = (name: string) => document.querySelector(`table[aria-label="${name}"]`)?.textContent
      return {
        texts: { title: document.title, headings: all('h1, h2, h3, summary, figcaption').map(one => one.textContent) },
        tables: all('table').map(one => one.getAttribute('aria-label')),
        figures: { sizes: table('Sizes'), calibration: table('Calibration'), options: table('Options') },
        prompts: all('.prompt').map(one => one.textContent),
        made: document.querySelector('section[aria-labelledby=run] > p')!.textContent,
      }
    }
    const path = await saved(page, 'Save report')
    expect(path).toMatch(/tiny-llama-pruned\.html$/)
    const [here, there] = [await read(join(folder, 'told.html')), await read(path)]
    expect(there.made).toMatch(/Chrome.*ONNX Runtime/)
    expect(here.made).toMatch(/Node .*ONNX Runtime/)
    expect({ ...there, made: '' }).toEqual({ ...here, made: '' })
    expect(here.figures.options).toContain('seqLen')
  })

  test('nothing was said on the console, nobody else asked, threads were there', async () => {
    expect(opened.said).toEqual([])
    const others = opened.requests.filter(({ url }) => !url.startsWith(site.url) && !url.startsWith('blob:'))
    expect(others).toEqual([])
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(true)
  })
})

describe('a GGUF file', () => {
  const path = () => join(folder, 'small.gguf')
  beforeAll(() => node.exportModel(TINY_LLAMA, { output: path(), to: [{ to: 'gguf', dtype: 'q8_0' }] }))

  test('is chosen', async () => {
    const { page } = await site.open()
    await page.locator('input[data-of=files]').setInputFiles(path())
    await page.getByRole('heading', { name: 'small.gguf' }).waitFor()
    expect(await page.getByText('llama, GGUF').isVisible()).toBe(true)
  })

  test('is dropped, and pruned', async () => {
    const { page, said } = await site.open()
    const bytes = (await readFile(path())).toString('base64')
    const transfer = await page.evaluateHandle(async base64 => {
      const blob = Uint8Array.from(atob(base64), letter => letter.charCodeAt(0))
      const transfer = new DataTransfer()
      transfer.items.add(new File([blob], 'small.gguf'))
      return transfer
    }, bytes)
    await page.getByRole('region', { name: 'Choose a model' }).dispatchEvent('drop', { dataTransfer: transfer })
    await page.getByRole('heading', { name: 'small.gguf' }).waitFor()
    await page.getByRole('button', { name: 'Next: how much' }).click()
    await giveText(page)
    await prune(page)
    expect(await page.locator('pre').textContent()).toContain('fasp prune small.gguf -s 0.2 -o small-pruned.gguf')
    expect((await node.inspect(await saved(page, 'Save GGUF'))).dtypes).toHaveProperty('Q8_0')
    expect(said).toEqual([])
  })
})

test('a file that is no model is refused with the message of the library', async () => {
  const { page } = await site.open()
  const files = [{ name: 'x.gguf', mimeType: '', buffer: Buffer.from('x'.repeat(99)) }]
  await page.locator('input[data-of=files]').setInputFiles(files)
  expect(await page.getByRole('alert').textContent()).toContain('x.gguf: not a GGUF file')
  await page.locator('input[data-of=files]').setInputFiles([{ ...files[0], name: 'model.safetensors' }])
  await expect.poll(() => page.getByRole('alert').textContent()).toContain('has no config.json')
})

test('cancelled, it goes back to the choice, and on again', async () => {
  const { page, said } = await site.open()
  await takeTiny(page)
  await giveText(page, { windows: 64, seqLen: 128 })
  await page.getByRole('button', { name: 'Prune' }).click()
  await page.locator('.errors tbody tr').first().waitFor()
  await page.getByRole('heading', { name: /^What it writes with \d layers? pruned$/ }).waitFor()
  expect(await page.locator('.so-far blockquote').textContent()).toMatch(/^Once upon a time\S* \S/)
  await readable(page, 'work')
  await page.getByRole('button', { name: 'Cancel' }).click()
  await step(page, 'How much smaller?')
  expect(await page.getByRole('alert').count()).toBe(0)
  expect(await onDisk(page)).toEqual([])
  expect(await page.getByLabel('Windows of text').inputValue()).toBe('64') // what was chosen is there
  await page.getByText('Options of the method').click()
  await page.getByLabel('Windows of text').fill('2')
  await prune(page)
  expect(said).toEqual([])
  const [first] = await onDisk(page)
  await page.reload()
  await takeTiny(page)
  await giveText(page, { windows: 2, seqLen: 32 })
  await prune(page)
  const files = await onDisk(page)
  expect(files.filter(name => name.endsWith('model.safetensors'))).toHaveLength(1) // what the page had left is gone
  expect(files[0].split('/')[1]).not.toBe(first.split('/')[1])
})

describe('a run that is left before its end', () => {
  /** Longer than until it is saved. */
  const SLOW = { windows: 160, seqLen: 128 }
  const goOn = (page: Page) => page.getByRole('button', { name: 'Go on' })

  test('by a reload is offered, goes on to the same bytes, and leaves no state', { timeout: 360_000 }, async () => {
    const { page, said } = await site.open({ acceptDownloads: true })
    await saveOften(page)
    await takeTiny(page)
    await giveText(page, SLOW)
    await prune(page)
    const whole = await readFile(await saved(page, 'Save GGUF'))
    await page.getByRole('button', { name: 'Try another amount' }).click()
    await begin(page)
    await leave(page)
    expect(
      await page.getByText(/An unfinished run of tiny-llama \(layer [2-5] of 6\), 20.0 % by stock/).isVisible(),
    ).toBe(true)
    await readable(page, 'unfinished')
    const other = await page.context().newPage()
    await other.goto(site.url)
    await goOn(other).waitFor()
    for (let i = 0; i < 20 && !(await goOn(page).evaluate(one => one === document.activeElement)); i++)
      await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await step(page, 'At work')
    await page.getByText(/^Goes on after /).waitFor()
    await goOn(other).click()
    await expect.poll(() => other.getByRole('alert').textContent()).toContain('another tab is at it')
    await other.reload()
    await other.getByRole('button', { name: 'Take the tiny model' }).waitFor()
    await step(page, 'What came out')
    expect(await goOn(other).count()).toBe(0)
    await other.close()
    expect(Buffer.compare(await readFile(await saved(page, 'Save GGUF')), whole)).toBe(0)
    expect(await page.locator('pre').textContent()).toBe(
      'fasp prune tiny-llama -s 0.2 -o tiny-llama-pruned --calibration your-text.txt --windows 160 --seq-len 128',
    )
    const left = (await onDisk(page)).map(name => name.split('/').slice(2).join('/'))
    expect(left.filter(name => !name.startsWith('result '))).toEqual([])
    await page.getByRole('button', { name: 'Try another amount' }).click()
    expect(await page.getByLabel('Windows of text').inputValue()).toBe('160') // what was chosen is there
    expect(said).toEqual([])
  })

  test('of a file wants the same file, and frees the disk when it is removed', { timeout: 240_000 }, async () => {
    const path = join(folder, 'left.gguf')
    await node.exportModel(TINY_LLAMA, { output: path, to: [{ to: 'gguf', dtype: 'f16' }] })
    const bytes = await readFile(path)
    const { page } = await site.open()
    await saveOften(page)
    const give = (buffer: Buffer, name = 'left.gguf') =>
      page.locator('input[data-of=files]').setInputFiles([{ name, mimeType: '', buffer }])
    await give(bytes)
    await page.getByRole('button', { name: 'Next: how much' }).click()
    await giveText(page, SLOW)
    await begin(page)
    await leave(page)
    expect(await page.getByText('The model must be given once more').isVisible()).toBe(true)
    await readable(page, 'unfinished-file')
    await goOn(page).click()
    const alert = page.getByRole('alert')
    await expect.poll(() => alert.textContent()).toContain('Give left.gguf first: drop or choose its files below.')
    const changed = Buffer.from(bytes)
    changed[changed.length - 9] ^= 1
    for (const [other, name, says] of [
      [changed, 'left.gguf', 'left.gguf is as long, and has other bytes'],
      [Buffer.concat([bytes, Buffer.alloc(64)]), 'left.gguf', 'left.gguf has '],
    ] as const) {
      await give(other, name)
      await page.getByRole('heading', { name }).waitFor()
      await goOn(page).click()
      await expect
        .poll(() => alert.textContent(), { timeout: 60_000 })
        .toContain(`another model than that of the run: ${says}`)
    }
    await give(bytes)
    await page.getByRole('heading', { name: 'left.gguf' }).waitFor()
    await goOn(page).click()
    await step(page, 'At work')
    await page.getByText(/^Goes on after /).waitFor()
    await page.reload()
    await page.getByRole('button', { name: 'Remove it' }).click()
    await goOn(page).waitFor({ state: 'detached' })
    expect(await onDisk(page)).toEqual([])
  })
})

test('by keyboard alone to the figures', async () => {
  const { page } = await site.open()
  const focused = () => page.evaluate(() => document.activeElement?.textContent?.trim())
  await page.keyboard.press('Tab')
  expect(await focused()).toBe('Skip to the step')
  for (let i = 0; i < 20 && (await focused()) !== 'Take the tiny model'; i++) await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'tiny-llama' }).waitFor()
  for (let i = 0; i < 20 && (await focused()) !== 'Next: how much'; i++) await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await step(page, 'How much smaller?')
  expect(await focused()).toBe('How much smaller?')
})

test('with it go the licences of what is bundled, in its workers too', async () => {
  const licences = await readFile(join(site.folder, 'THIRD-PARTY.txt'), 'utf8')
  for (const name of ['preact', 'client-zip', '@huggingface/tokenizers'])
    expect(licences).toMatch(new RegExp(`^${name} `, 'm'))
})

test('its policy lets no text become a script, and its colours are those of reports', async () => {
  const whole = await readFile(join(site.folder, 'index.html'), 'utf8')
  const connect =
    "connect-src 'self' https://huggingface.co https://*.huggingface.co https://*.hf.co https://hf-hub-lfs-us-east-1.s3-accelerate.amazonaws.com;"
  expect(whole).toContain(connect)
  const html = whole.replace(connect, '')
  expect(html).toContain("script-src 'self' 'wasm-unsafe-eval'")
  expect(html).not.toMatch(/unsafe-inline|'unsafe-eval'|<script>|<style|https?:/)
  const css = (await readFile(new URL('../../web/style.css', import.meta.url), 'utf8')).replace(/\s/g, '')
  const [light, dark] = css.split('@media(prefers-color-scheme:dark)')
  for (const [part, palette] of [
    [light, LIGHT],
    [dark, DARK],
  ])
    for (const colour of palette.split(';').filter(one => /paper|ink|c[0126]:/.test(one)))
      expect(part).toContain(`${colour};`)
})

describe('how much', () => {
  let page: Page
  beforeAll(async () => {
    page = (await site.open()).page
    await takeTiny(page)
  })

  test('what cannot fit is refused before it begins, with what would', async () => {
    await giveText(page, { windows: 1_000_000, seqLen: 256 })
    const alert = page.getByRole('alert')
    await expect
      .poll(() => alert.textContent())
      .toMatch(/does not fit a page: it takes .* [GT]B, and a page can use 4.00 GB/)
    const prune = page.getByRole('button', { name: 'Prune' })
    expect(await prune.isDisabled()).toBe(true)
    await readable(page, 'refused')
    await page.getByRole('button', { name: 'Take what fits' }).click()
    await alert.waitFor({ state: 'detached' })
    expect(Number(await page.getByLabel('Windows of text').inputValue())).toBeLessThan(1_000_000)
    expect(await prune.isEnabled()).toBe(true)
    await page.getByLabel('Windows of text').fill('8')
    await page.getByLabel('Tokens a window').fill('64')
  })

  test('a model that is there already is not asked to fit 1 GB; goals have formats to save as', async () => {
    expect(await page.getByRole('radio', { name: /^Fits 1 GB/ }).isDisabled()).toBe(true)
    await page.getByRole('radio', { name: /^A browser tab/ }).check()
    await page.getByRole('radio', { name: /^Runs anywhere/ }).check()
  })

  test('the time is estimated from products that are measured when asked', async () => {
    await page.getByRole('button', { name: 'Estimate the time' }).click()
    await expect.poll(() => figure(page, 'Time'), { timeout: 60_000 }).toMatch(/estimate/)
  })

  test('the vocabulary is cut to what the library keeps, pruned, and taken away', async () => {
    await page.getByRole('checkbox', { name: /^Keep only tokens of my text/ }).check()
    const { vocabularySize } = await node.inspect(TINY_LLAMA)
    const size = Math.ceil(0.4 * vocabularySize)
    await page.getByRole('slider', { name: 'Keep at most' }).fill('40')
    await readable(page, 'vocabulary')
    const keep = [{ name: 'x', text: async () => TEXT }]
    await using model = await node.openModel(TINY_LLAMA)
    const { tokens } = (await node.cutVocabulary(model, { keep, size })).checkpoint.vocabulary!
    await expect.poll(() => figure(page, 'Vocabulary')).toBe(`${tokens.after}of ${vocabularySize} tokens`)
    await prune(page)
    const gguf = await node.inspect(await saved(page, 'Save GGUF'))
    expect(gguf.vocabularySize).toBe(tokens.after)
    await page.getByRole('button', { name: 'Write on' }).click()
    await expect.poll(() => page.getByText('tokens/s').count(), { timeout: 60_000 }).toBe(2)
    expect(await page.locator('pre').textContent()).toContain(`--vocabulary your-text.txt --vocabulary-size ${size}`)
  })
})

describe('take away', () => {
  let page: Page
  beforeAll(async () => {
    page = (await site.open({ acceptDownloads: true })).page
    await takeTiny(page)
    await page.getByRole('radio', { name: /^A browser tab/ }).check()
    await giveText(page)
    await prune(page)
  })

  test('ONNX in the type of the goal, with what transformers.js needs beside it', async () => {
    expect(await page.getByLabel('Type of ONNX').inputValue()).toBe('q4')
    const zip = await openZip(memorySource(await readFile(await saved(page, 'Save ONNX')), 'zip'))
    const names = [...zip.members.keys()].map(name => name.replace(/^[^/]*\//, ''))
    expect(names).toContain('onnx/model_q4.onnx')
    expect(names).toContain('tokenizer.json')
  })

  test('into a file that the user chooses it is streamed, without a download', async () => {
    await page.evaluate(() => {
      const choose = async () => (await navigator.storage.getDirectory()).getFileHandle('chosen', { create: true })
      Object.assign(window, { showSaveFilePicker: choose })
    })
    await page.getByRole('button', { name: 'Save GGUF' }).click()
    await page.getByText('chosen, ').waitFor()
    const bytes = await page.evaluate(async () => {
      const root = await navigator.storage.getDirectory()
      return [...new Uint8Array(await (await (await root.getFileHandle('chosen')).getFile()).arrayBuffer())]
    })
    const path = join(folder, 'chosen.gguf')
    await writeFile(path, Uint8Array.from(bytes))
    expect((await node.inspect(path)).ffnWidth).toBe(288)
    await readable(page, 'take')
  })

  test('nothing is saved where the user closes the picker', async () => {
    await page.evaluate(() => {
      const close = () => Promise.reject(new DOMException('closed', 'AbortError'))
      Object.assign(window, { showSaveFilePicker: close })
    })
    await page.getByRole('button', { name: 'Save safetensors' }).click()
    await expect.poll(() => page.getByRole('button', { name: 'Save safetensors' }).isEnabled()).toBe(true)
    expect(await page.getByRole('alert').count()).toBe(0)
  })
})

test('what the model writes to be repaired on can be read', async () => {
  const { page } = await site.open()
  await takeTiny(page)
  await page.getByText('Options of the method').click()
  await page.getByLabel('Windows of text').fill('3')
  await page.getByLabel('Tokens a window').fill('48')
  await prune(page)
  const fold = page.locator('details').filter({ hasText: 'What the model wrote' })
  await fold.locator('summary').click()
  const shown = await fold.locator('blockquote').allTextContents()
  expect(shown).toHaveLength(3)
  await using model = await node.openModel(TINY_LLAMA)
  const tokenizer = node.loadTokenizer(model.checkpoint)
  // It is text, and as long as it is said to be.
  for (const text of shown) expect(Math.abs(tokenizer.encode(text).length - 48)).toBeLessThan(16)
  expect(new Set(shown).size).toBe(3)
  await readable(page, 'own-text')
})

test('where WebGPU is there and fails, WebAssembly computes, with a note', async () => {
  const { page } = await site.open()
  // Workers run no script of the test's: theirs is sent with one before it.
  await page.context().route(/computing.*\.js$/, async route => {
    const response = await route.fetch()
    const gpu = "Object.defineProperty(navigator, 'gpu', { value: { requestAdapter: async () => ({}) } });"
    await route.fulfill({ response, body: `${gpu}${await response.text()}` })
  })
  await takeTiny(page)
  await giveText(page, { windows: 32, seqLen: 128 })
  await page.getByRole('button', { name: 'Prune' }).click()
  await page.getByText('WebAssembly computes instead').waitFor()
  await page.getByText(/Computed here, with WebAssembly/).waitFor()
  await step(page, 'What came out')
})
