import { expect, test } from 'vitest'
import manifest from '../../../package.json' with { type: 'json' }
import lock from '../../../package-lock.json' with { type: 'json' }
import { INTEGRITY, RUNTIME_VERSION } from './package.node.ts'

test('what is fetched is what is developed with, and the types are of its version', () => {
  const { version, integrity } = lock.packages['node_modules/onnxruntime-node']
  expect({ version, integrity }).toEqual({ version: RUNTIME_VERSION, integrity: INTEGRITY })
  expect(manifest.dependencies['onnxruntime-common']).toBe(RUNTIME_VERSION)
})
