import { expect, test } from 'vitest'
import { type HubReference, hubReference } from './reference.ts'

const plain = { revision: undefined, file: undefined, explicit: false }
const names: Record<string, Partial<HubReference>> = {
  'facebook/opt-125m': { id: 'facebook/opt-125m' },
  'HuggingFaceTB/SmolLM2-135M_x.v1': { id: 'HuggingFaceTB/SmolLM2-135M_x.v1' },
  'hf:org/name': { id: 'org/name', explicit: true },
  'hf://org/name@v1.0': { id: 'org/name', revision: 'v1.0', explicit: true },
  'org/name@refs/pr/3': { id: 'org/name', revision: 'refs/pr/3' },
  'org/name@refs/pr/3/a/b.gguf': { id: 'org/name', revision: 'refs/pr/3', file: 'a/b.gguf' },
  'org/name-GGUF/model.Q4_K_M.gguf': { id: 'org/name-GGUF', file: 'model.Q4_K_M.gguf' },
  'org/name@main/sub/x.GGUF': { id: 'org/name', revision: 'main', file: 'sub/x.GGUF' },
}
test.each(Object.entries(names))('%s', (text, parts) => {
  expect(hubReference(text)).toEqual({ ...plain, ...parts })
})

test.each([
  'name',
  './org/name',
  '../name',
  '/org/name',
  'org/name/',
  'a/b/c',
  'a//b',
  'C:\\models\\x',
  'folder/model.gguf', // a path in a folder of that name
  'org/na--me', // the folder in the cache could be of another model
  'or..g/name',
  'org/..',
  'org/name.git',
  'org/name-',
  'org/name@',
  'org/name@../x',
  'org/name@a..b',
  'org/name/../../x.gguf',
  'org/name//x.gguf',
  'org/name/a\\..\\x.gguf',
  'org/name@feature/x',
])('%s is only a path', text => {
  expect(hubReference(text)).toBeUndefined()
})
