// The adapters that Vulkan's loader knows, with what WebGPU asks of them, called through FFI (koffi): ONNX Runtime tells neither name nor type
// of the one that it takes, nor its memory. A driver may end the process: who does not run on WebGPU calls this in another
// (devices/child.node.ts).
// Source: vulkan_core.h 1.1. All structures are read at their places for 64-bit Linux.
import { createRequire } from 'node:module'
import type * as Koffi from 'koffi'
import { ADAPTER_TYPES, type Adapter } from './adapter.ts'

const LIBRARY = 'libvulkan.so.1'
const VERSION_1_1 = (1 << 22) | (1 << 12)
/** VK_ERROR_INCOMPATIBLE_DRIVER: of none that is installed. VK_ERROR_INITIALIZATION_FAILED: no driver finds a device. */
const [NO_DRIVER, NO_DEVICE] = [-9, -3]
const INFO_BYTES = 64

/** Values of sType. */
const [APPLICATION_INFO, INSTANCE_INFO, FEATURES_2, FLOAT16_INT8] = [0, 1, 1000059000, 1000082000]
const [MEMORY_2, MEMORY_BUDGET] = [1000059006, 1000237000]
/** Places in VkPhysicalDeviceProperties. */
const [API_VERSION, TYPE, NAME, NAME_BYTES, STORAGE_RANGE] = [0, 16, 20, 256, 296 + 28]
/** Places in VkPhysicalDeviceMemoryProperties, and in a heap of it. */
const [HEAP_COUNT, HEAPS, HEAP_BYTES, HEAP_FLAGS, DEVICE_LOCAL] = [260, 264, 16, 8, 1]
/** Places in VkPhysicalDeviceMemoryProperties2, and in VkPhysicalDeviceMemoryBudgetPropertiesEXT behind it, which zeros stay in where it is unknown. */
const [MEMORY_2_BYTES, MEMORY, BUDGET_BYTES, BUDGETS, USAGES] = [536, 16, 272, 16, 144]
/** Places in VkPhysicalDeviceFeatures2 and VkPhysicalDeviceShaderFloat16Int8Features. */
const [FLOAT64, FLOAT16] = [16 + 39 * 4, 16]

/** None where there is no driver. @throws Error where there is no loader, or no koffi */
export function vulkanAdapters(): Adapter[] {
  if (process.platform !== 'linux') throw new Error('adapters are listed on Linux only')
  const { koffi, vulkan } = load()
  const [createInstance, enumerate] = [
    vulkan.func('int vkCreateInstance(void *, void *, _Out_ void **)'),
    vulkan.func('int vkEnumeratePhysicalDevices(void *, _Inout_ uint32_t *, void *)'),
  ]
  const destroyInstance = vulkan.func('void vkDestroyInstance(void *, void *)')
  const [properties, features, memories1, memories2] = [
    'Properties',
    'Features2',
    'MemoryProperties',
    'MemoryProperties2',
  ].map(what => vulkan.func(`void vkGetPhysicalDevice${what}(void *, void *)`))
  const check = (code: number, call: string) => {
    if (code !== 0) throw new Error(`${call} of ${LIBRARY} gives ${code}`)
  }
  const info = Buffer.alloc(INFO_BYTES + 48) // VkApplicationInfo is behind VkInstanceCreateInfo
  info.writeUInt32LE(INSTANCE_INFO)
  info.writeBigUInt64LE(koffi.address(info) + BigInt(INFO_BYTES), 24)
  info.writeUInt32LE(APPLICATION_INFO, INFO_BYTES)
  info.writeUInt32LE(VERSION_1_1, INFO_BYTES + 44)
  const instance: [unknown] = [null]
  const code = createInstance(info, null, instance)
  if (code === NO_DRIVER) return []
  check(code, 'vkCreateInstance')
  const count = [0]
  const counted = enumerate(instance[0], count, null)
  if (counted !== NO_DEVICE) check(counted, 'vkEnumeratePhysicalDevices')
  const handles = new BigUint64Array(count[0])
  if (count[0] > 0) check(enumerate(instance[0], count, handles), 'vkEnumeratePhysicalDevices')
  /** The first structure, with the second behind it. */
  const chained = (sType: number, bytes: number, nextType: number, nextBytes: number): [Buffer, Buffer] => {
    const [first, next] = [Buffer.alloc(bytes), Buffer.alloc(nextBytes)]
    first.writeUInt32LE(sType)
    first.writeBigUInt64LE(koffi.address(next), 8)
    next.writeUInt32LE(nextType)
    return [first, next]
  }
  const adapters = [...handles].map((handle): Adapter => {
    const of = Buffer.alloc(1024)
    properties(handle, of)
    const [all, float16] = chained(FEATURES_2, 240, FLOAT16_INT8, 24)
    const [memories, budget] = chained(MEMORY_2, MEMORY_2_BYTES, MEMORY_BUDGET, BUDGET_BYTES)
    const heaps = memories.subarray(MEMORY)
    if (of.readUInt32LE(API_VERSION) >= VERSION_1_1) {
      features(handle, all)
      memories2(handle, memories)
    } else memories1(handle, heaps)
    const local = Array.from({ length: heaps.readUInt32LE(HEAP_COUNT) }, (_, i) => {
      const at = HEAPS + i * HEAP_BYTES
      const [size, most, used] = [
        heaps.readBigUInt64LE(at),
        budget.readBigUInt64LE(BUDGETS + 8 * i),
        budget.readBigUInt64LE(USAGES + 8 * i),
      ].map(Number)
      const isOwn = (heaps.readUInt32LE(at + HEAP_FLAGS) & DEVICE_LOCAL) !== 0
      return isOwn ? { size, free: most > 0 ? Math.max(0, most - used) : size } : { size: 0, free: 0 }
    })
    const largest = local.reduce((a, b) => (b.size > a.size ? b : a), { size: 0, free: 0 })
    return {
      name: of.toString('utf8', NAME, NAME + NAME_BYTES).replace(/\0.*/s, ''),
      type: ADAPTER_TYPES[of.readUInt32LE(TYPE)] ?? 'other',
      memory: largest.size,
      free: largest.free,
      binding: of.readUInt32LE(STORAGE_RANGE),
      numbers: [
        ...(float16.readUInt32LE(FLOAT16) ? ['float16'] : []),
        ...(all.readUInt32LE(FLOAT64) ? ['float64'] : []),
      ],
    }
  })
  destroyInstance(instance[0], null)
  return adapters
}

function load(): { readonly koffi: typeof Koffi; readonly vulkan: Koffi.LibraryHandle } {
  let koffi: typeof Koffi
  try {
    koffi = createRequire(import.meta.url)('koffi')
  } catch (cause) {
    throw new Error('adapters are listed with the package koffi, which is not there (npm install koffi)', { cause })
  }
  try {
    return { koffi, vulkan: koffi.load(LIBRARY) }
  } catch (cause) {
    throw new Error(`Vulkan’s loader, ${LIBRARY}, is not there`, { cause })
  }
}
