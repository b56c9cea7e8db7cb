// What is known of a GPU before anything is run on it, and whether it is one: drivers in software are adapters, too.

/** As Vulkan calls them (VkPhysicalDeviceType), in its order; `software` runs on the CPU. */
export const ADAPTER_TYPES = ['other', 'integrated', 'discrete', 'virtual', 'software'] as const

export interface Adapter {
  readonly name: string
  readonly type: (typeof ADAPTER_TYPES)[number]
  /** Bytes of the largest memory that is its own; of an integrated one, of what it shares with the CPU. */
  readonly memory: number
  /** Bytes of it that this process may take, where its driver tells; else all. */
  readonly free: number
  /** Bytes of a buffer that a shader may read and write, at most. */
  readonly binding: number
  /** Beside float32: `float16`, `float64`. */
  readonly numbers: readonly string[]
}

/** Whatever type they give: under a virtual GPU the host's driver may be one of them. */
const SOFTWARE = /llvmpipe|lavapipe|swiftshader|basic render|\bwarp\b/i

/** A card or a part of the processor for sure. Nobody knows what is under a virtual one. */
export const isReal = ({ name, type }: Adapter): boolean =>
  (type === 'discrete' || type === 'integrated') && !SOFTWARE.test(name)
