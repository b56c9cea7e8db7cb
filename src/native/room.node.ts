// How much of a device's memory a run takes where nobody says (`--device-memory`): what is free, less a reserve.
import { createRequire } from 'node:module'
import { freemem } from 'node:os'
import type * as Koffi from 'koffi'
import { bytes } from '../display.ts'
import type { Adapter } from './adapter.ts'
import { vulkanAdapters } from './vulkan.node.ts'

const GIB = 2 ** 30
/** Where nothing can be asked: the weights of a half-block of a 7B model are half of it. */
const UNKNOWN = GIB
/** ONNX Runtime takes room, too: for what lies between the operators of a graph, and for buffers that it keeps for the next. */
const RESERVE = { share: 1 / 4, least: GIB / 2 }
/** Of memory that is this machine's: rows that find no place on the device go there, too, and it is other programs'. */
const SHARE_OF_HOST = 1 / 4
/** The order in which WebGPU takes adapters. */
const FIRST: readonly Adapter['type'][] = ['discrete', 'integrated', 'virtual', 'other', 'software']

type Loads = (library: string) => Pick<Koffi.LibraryHandle, 'func'>

/** Of each device, as it was when that was first asked for in this process. */
const rooms = new Map<string, number>()

/** GiB. */
export function freeRoom(device: 'webgpu' | 'cuda'): number {
  const room = rooms.get(device) ?? (device === 'cuda' ? roomOfCards(freeOfCards) : roomOfAdapters(vulkanAdapters))
  rooms.set(device, room)
  return room / GIB
}

/** What a user is to know of it before a run, if anything. */
export const roomNotice = (engine: { readonly device: string; readonly deviceMemory?: number }): string | undefined =>
  engine.deviceMemory === undefined
    ? undefined
    : `Up to ${bytes(engine.deviceMemory)} on ${engine.device} hold weights, rows and sums (--device-memory).`

const lessReserve = (free: number): number => Math.max(0, free - Math.max(RESERVE.least, free * RESERVE.share))

/** ONNX Runtime does not say which adapter it takes: the least of those that it may take. @param host bytes of this machine's memory that are free */
export function roomOfAdapters(
  list: () => readonly Adapter[],
  host = process.availableMemory?.() ?? freemem(),
): number {
  const adapters = orNone(list)
  const first = FIRST.find(type => adapters.some(adapter => adapter.type === type))
  const rooms = adapters.flatMap(({ type, free }) => {
    if (type !== first) return []
    return type === 'discrete' ? lessReserve(free) : Math.min(free, host) * SHARE_OF_HOST
  })
  return rooms.length > 0 ? Math.floor(Math.min(...rooms)) : UNKNOWN
}

/** The least of all cards: CUDA numbers them in an order of its own. */
export function roomOfCards(list: () => readonly number[]): number {
  const free = orNone(list)
  return free.length > 0 ? Math.floor(lessReserve(Math.min(...free))) : UNKNOWN
}

const orNone = <T>(list: () => readonly T[]): readonly T[] => {
  try {
    return list()
  } catch {
    return [] // no driver, or no koffi
  }
}

/** Free bytes of NVIDIA's cards, of their driver's own library (nvml.h). */
export function freeOfCards(
  load: Loads = name => (createRequire(import.meta.url)('koffi') as typeof Koffi).load(name),
) {
  const nvml = load('libnvidia-ml.so.1')
  const check = (code: number) => {
    if (code !== 0) throw new Error(`NVML gives ${code}`)
  }
  const [count, handle]: [[number], [unknown]] = [[0], [null]]
  check(nvml.func('int nvmlInit_v2()')())
  check(nvml.func('int nvmlDeviceGetCount_v2(_Out_ unsigned int *)')(count))
  const [handleOf, memoryOf] = [
    nvml.func('int nvmlDeviceGetHandleByIndex_v2(unsigned int, _Out_ void **)'),
    nvml.func('int nvmlDeviceGetMemoryInfo(void *, void *)'),
  ]
  return Array.from({ length: count[0] }, (_, i) => {
    const memory = new BigUint64Array(3) // total, free, used
    check(handleOf(i, handle))
    check(memoryOf(handle[0], memory))
    return Number(memory[1])
  })
}
