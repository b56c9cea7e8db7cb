import { expect, test } from 'vitest'
import { headRows } from './head.ts'

test('large vocabularies have fewer rows of logits at once', () => {
  const rows = [1, 49152, 128256, 131072, 262144, 1e9].map(vocabularySize => headRows({ vocabularySize }))
  expect(rows).toEqual([256, 256, 256, 256, 128, 1])
})
