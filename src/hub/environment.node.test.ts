// What the variables mean is compared with Python's huggingface_hub in test/python/hub.check.ts.
import { expect, test } from 'vitest'
import { UsageError } from '../errors.ts'
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
