import { afterEach, expect, test, vi } from 'vitest'
import { terminalStyle } from './process.ts'

const stream = (isTTY: boolean) => ({ isTTY, columns: 100 }) as NodeJS.WriteStream

afterEach(() => void vi.unstubAllEnvs())

test.each([
  ['a terminal', true, {}, { columns: 100, blocks: true, bold: true }],
  ['NO_COLOR', true, { NO_COLOR: '1' }, { columns: 100, blocks: true, bold: false }],
  ['NO_COLOR that is empty', true, { NO_COLOR: '' }, { columns: 100, blocks: true, bold: true }],
  ['a dumb terminal', true, { TERM: 'dumb' }, { columns: 80, blocks: false, bold: false }],
  ['a pipe', false, {}, { columns: 80, blocks: false, bold: false }],
])('%s', (_, isTTY, env, style) => {
  for (const [name, value] of Object.entries({ TERM: 'xterm', NO_COLOR: '', ...env })) vi.stubEnv(name, value)
  expect(terminalStyle(stream(isTTY))).toEqual(style)
})
