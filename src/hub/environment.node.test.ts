// What the variables mean is compared with Python's huggingface_hub in test/python/hub.check.ts.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { UsageError } from '../base/errors.ts'
import { hubEnvironment } from './environment.node.ts'

test.each([
  [{ HF_ENDPOINT: 'hub.example.org' }, 'HF_ENDPOINT is "hub.example.org"; it must be a URL'],
  [{ HF_ENDPOINT: 'ftp://hub.example.org' }, 'it must be a URL such as https://huggingface.co'],
  [{ HF_HUB_DOWNLOAD_TIMEOUT: 'long' }, 'HF_HUB_DOWNLOAD_TIMEOUT is "long"; it must be a number of seconds'],
])('%j is refused', async (env, message) => {
  const error = await hubEnvironment(env).catch(error => error)
  expect(error).toBeInstanceOf(UsageError)
  expect(error.message).toContain(message)
})

test('without any variable', async () => {
  const environment = await hubEnvironment({ HOME: '/nowhere' })
  expect(environment).toMatchObject({
    endpoint: 'https://huggingface.co',
    offline: false,
    timeout: 10_000,
    symlinks: true,
  })
  expect(environment.cache).toMatch(/\/\.cache\/huggingface\/hub$/)
})

test.each(['http://me:secret@hub.example.org', 'me:secret@hub.example.org', 'https://hub.example.org/?key=secret'])(
  'what is secret in HF_ENDPOINT %s is not repeated',
  async HF_ENDPOINT => {
    const error = await hubEnvironment({ HF_ENDPOINT }).catch(error => error)
    expect(error).toBeInstanceOf(UsageError)
    expect(error.message).toMatch(/^HF_ENDPOINT is ".*….*"; it must be a URL such as .+ with no user or query in it/)
    expect(inspect(error)).not.toContain('secret')
  },
)

test.each(['sec\nret', 'sec\r\nret', 'sec ret', 'sec\0ret', 'secrét', 'sec\u{1f600}ret'])(
  'a token that cannot be sent (%j) is not repeated',
  async token => {
    const folder = mkdtempSync(join(tmpdir(), 'fasp-hub-token-'))
    const file = join(folder, 'token')
    writeFileSync(file, `${token}\n`)
    for (const env of [{ HF_TOKEN: token }, { HUGGING_FACE_HUB_TOKEN: token }, { HF_TOKEN_PATH: file }]) {
      const error = await hubEnvironment(env).catch(error => error)
      expect(error).toBeInstanceOf(UsageError)
      const source = 'HF_TOKEN_PATH' in env ? file : Object.keys(env)[0]
      expect(error.message.startsWith(`${source} holds no token: a token is one line of letters`)).toBe(true)
      expect(inspect(error)).not.toMatch(/sec[^u]*r[eé]t/)
    }
    rmSync(folder, { recursive: true })
  },
)
