// Opens GGUF files. What they hold is tested in gguf.test.ts, and of a model that people use in test/machine/smollm2.check.ts.
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { FormatError } from '../base/errors.ts'
import { openGgufCheckpoint } from './gguf.node.ts'

test('what is no GGUF is refused by name', async () => {
  await expect(openGgufCheckpoint(fileURLToPath(import.meta.url))).rejects.toThrow(/gguf.node.test.ts: not a GGUF file/)
  await expect(openGgufCheckpoint('no-such.gguf')).rejects.toThrow(FormatError)
})
