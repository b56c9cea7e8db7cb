import { expect, test } from 'vitest'
import { Graph } from '../formats/onnx.ts'
import type { GraphRuntime } from './graph-runtime.ts'
import { Sessions } from './sessions.ts'

/** A runtime whose sessions say what happens to them. */
function fake() {
  const said: string[] = []
  const graphs: GraphRuntime = {
    async open({ name }) {
      if (name === 'wrong') throw new Error('no such operator')
      said.push(`open ${name}`)
      return { run: async () => {}, close: async () => void said.push(`close ${name}`) }
    },
    close: async () => void said.push('close memory'),
  }
  const sessions = new Sessions(graphs)
  const use = (name: string, call = async () => {}) => sessions.use(name, () => new Graph(name), call)
  return { said, sessions, use }
}

test('a session serves all uses of its key', async () => {
  const { said, use } = fake()
  await Promise.all([use('a'), use('a'), use('b')])
  await use('a')
  expect(said).toEqual(['open a', 'open b'])
})

test('of many sessions those used last are kept, and none is closed in use', async () => {
  const { said, use } = fake()
  let end = () => {}
  const longest = use('first', () => new Promise(resolve => (end = resolve)))
  await use('second')
  await use('third')
  for (let i = 0; i < 29; i++) await use(`${i}`)
  await use('second')
  await use('one more')
  expect(said.filter(line => line.startsWith('close'))).toEqual(['close third'])
  end()
  await longest
  await use('and another')
  expect(said.filter(line => line.startsWith('close'))).toEqual(['close third', 'close first'])
})

test('closing waits for what runs, and nothing can run after it', async () => {
  const { said, sessions, use } = fake()
  let end = () => {}
  const running = use('a', () => new Promise(resolve => (end = resolve))).then(() => said.push('end'))
  const closing = sessions.close()
  await expect(use('a')).rejects.toThrow('The engine is closed; "a" came too late.')
  end()
  await Promise.all([running, closing])
  expect(said).toEqual(['open a', 'end', 'close memory', 'close a'])
})

test('what cannot be opened says so each time, and closing does not mind', async () => {
  const { sessions, use } = fake()
  await expect(use('wrong')).rejects.toThrow('no such operator')
  const [second] = await Promise.allSettled([use('wrong'), sessions.close()])
  expect(second).toMatchObject({ status: 'rejected' })
})
