// Signs of life by TCP, between processes that are one here.
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { type Address, Heartbeat } from './heartbeat.node.ts'
import { isMissing, nobodyMissing, SILENT, takeMissing } from './heartbeat.ts'

const BEAT = 20

const open: { close(): unknown }[] = []
afterEach(() => {
  for (const one of open.splice(0)) one.close()
})

function heartbeatOf(rank: number, size: number) {
  const missing = nobodyMissing(rank, size)
  const heartbeat = new Heartbeat({ ...missing, isLocal: true, beat: BEAT })
  open.push(heartbeat)
  return { missing, heartbeat }
}

/** @returns a rank that has joined, of which nothing more is heard */
async function silentRank({ hosts, port, words }: Address, line: string): Promise<Socket> {
  const socket = connect(port, hosts[0])
  open.push({ close: () => socket.destroy() })
  socket.on('error', () => {}).write(`${line}\n`)
  await Promise.race([once(socket, 'data'), once(socket, 'close')])
  expect(words).not.toContain(line)
  return socket
}

/** @returns where a root listens that says `answer`, and nothing more */
async function silentRoot(answer: string): Promise<Address> {
  const server: Server = createServer(socket => socket.on('error', () => {}).write(`${answer}\n`))
  open.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { hosts: ['127.0.0.1'], port: (server.address() as { port: number }).port, words: ['ask', 'answer'] }
}

test('ranks that live miss nobody, and neither do those whose threads were not let run', async () => {
  const [root, one, two] = [0, 1, 2].map(rank => heartbeatOf(rank, 3))
  const address = await root.heartbeat.listen()
  expect(address.hosts).toEqual(['127.0.0.1'])
  expect(await Promise.all([one, two].map(({ heartbeat }) => heartbeat.join(address)))).toEqual([true, true])
  await sleep(2 * SILENT * BEAT)
  const until = performance.now() + 2 * SILENT * BEAT
  while (performance.now() < until);
  await sleep(2 * BEAT)
  for (const { missing } of [root, one, two]) expect(isMissing(missing)).toBe(false)
})

test('the root misses a rank of which it hears nothing, and one thread alone says so', async () => {
  const { missing, heartbeat } = heartbeatOf(0, 3)
  const address = await heartbeat.listen()
  await silentRank(address, `${address.words[0]} 2`)
  expect(takeMissing(missing)).toBeUndefined()
  while (!isMissing(missing)) await sleep(BEAT)
  expect(takeMissing(missing)).toMatchObject({
    rank: 2,
    message: expect.stringMatching(
      /^rank 2 of 3: its process gives no sign of life for 6 s: .*--resume.*--mpi-timeout 0/,
    ),
  })
  expect(takeMissing(missing)).toBeUndefined()
  await sleep(2 * BEAT) // it stays silent
  expect(takeMissing(missing)).toBeUndefined()
})

test('the others hear of it from the root, and say nothing', async () => {
  const { heartbeat } = heartbeatOf(0, 3)
  const address = await heartbeat.listen()
  const { missing, heartbeat: one } = heartbeatOf(1, 3)
  await one.join(address)
  await silentRank(address, `${address.words[0]} 2`)
  while (!isMissing(missing)) await sleep(BEAT)
  expect(takeMissing(missing)).toBeUndefined()
})

test('a root of which nothing is heard is missed by the first rank before the second', async () => {
  const address = await silentRoot('answer')
  const [one, two] = [1, 2].map(rank => heartbeatOf(rank, 3))
  for (const { heartbeat } of [two, one]) expect(await heartbeat.join(address)).toBe(true)
  while (!isMissing(one.missing)) await sleep(BEAT / 4)
  expect(isMissing(two.missing)).toBe(false)
  while (!isMissing(two.missing)) await sleep(BEAT)
  expect(takeMissing(two.missing)?.message).toMatch(/^rank 0 of 3: .* for 8 s/)
})

test('a rank that has ended is not missed', async () => {
  const { missing, heartbeat } = heartbeatOf(0, 3)
  const address = await heartbeat.listen()
  const ended = heartbeatOf(1, 3)
  await ended.heartbeat.join(address)
  const killed = await silentRank(address, `${address.words[0]} 2`)
  ended.heartbeat.close()
  killed.resetAndDestroy()
  await sleep(2 * SILENT * BEAT)
  expect(isMissing(missing)).toBe(false)
})

test.each(['another word 1', '', 'x'.repeat(200)])('somebody else is not let in: %s', async line => {
  const { missing, heartbeat } = heartbeatOf(0, 2)
  const socket = await silentRank(await heartbeat.listen(), line)
  expect(socket.destroyed).toBe(true)
  await sleep(2 * SILENT * BEAT)
  expect(isMissing(missing)).toBe(false)
})

test('nor is one that has no rank', async () => {
  const { heartbeat } = heartbeatOf(0, 2)
  const address = await heartbeat.listen()
  for (const rank of ['0', '2', 'x', ''])
    expect((await silentRank(address, `${address.words[0]} ${rank}`)).destroyed).toBe(true)
})

test('a rank goes from address to address, and on without where the root is at none', async () => {
  const { missing, heartbeat } = heartbeatOf(1, 2)
  const root = heartbeatOf(0, 2)
  const address = await root.heartbeat.listen()
  const other = await silentRoot('somebody else')
  expect(await heartbeat.join(other)).toBe(false)
  open.pop()!.close()
  expect(await heartbeat.join({ ...address, port: other.port })).toBe(false)
  expect(await heartbeat.join({ ...address, hosts: ['127.0.0.1.invalid', ...address.hosts] })).toBe(true)
  expect(isMissing(missing)).toBe(false)
})
