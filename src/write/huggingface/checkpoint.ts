// Writes a Hugging Face folder: safetensors in shards, an index, and small files. Tensors may come in any order.
// Source: safetensors README (format), transformers `save_pretrained` (shard names and index).
import { jsonFile, type SideFile } from '../../checkpoint/checkpoint.ts'
import {
  type DenseTensorInfo,
  layoutShards,
  type PlacedTensor,
  type SafetensorsLayout,
} from '../../formats/safetensors.ts'
import { elements } from '../../formats/tensors.ts'
import { fileOf, type Sink, type SinkFile, writeFile } from '../../output/sink.ts'
import type { WrittenTensor } from '../../output/steps.ts'

interface Shard {
  readonly name: string
  readonly layout: SafetensorsLayout
  file?: SinkFile
  /** Tensors that have not come. */
  left: number
}

interface Place {
  readonly shard: Shard
  readonly tensor: PlacedTensor
  /** Bytes that have not come. */
  left: number
}

export class CheckpointWriter {
  readonly #shards: readonly Shard[]
  readonly #places = new Map<string, Place>()
  readonly #sink: Sink
  readonly #whole: string[] = []
  #writing = Promise.resolve()
  /** Bytes of the weight files. */
  readonly weightBytes: number

  /** @param tensors in the order of the forward pass, which is the order of the shards */
  constructor(sink: Sink, tensors: Iterable<DenseTensorInfo>, shardBytes?: number) {
    this.#sink = sink
    const layouts = layoutShards(tensors, shardBytes)
    this.#shards = layouts.map((layout, i) => ({
      name:
        layouts.length === 1 ? 'model.safetensors' : `model-${number(i + 1)}-of-${number(layouts.length)}.safetensors`,
      layout,
      left: layout.tensors.size,
    }))
    for (const shard of this.#shards)
      for (const tensor of shard.layout.tensors.values())
        this.#places.set(tensor.name, { shard, tensor, left: tensor.byteLength })
    this.weightBytes = this.#shards.reduce((n, s) => n + s.layout.byteLength, 0)
  }

  /** Whether the output has this tensor. */
  has(name: string): boolean {
    return this.#places.has(name)
  }

  /** Writes one tensor's bytes, as `part` does. */
  async tensor(name: string, bytes: Uint8Array): Promise<void> {
    const { byteLength } = this.#places.get(name)!.tensor
    if (bytes.byteLength !== byteLength)
      throw new Error(`${name}: ${bytes.byteLength} bytes for a place of ${byteLength}`)
    await this.part(name, bytes)
  }

  /**
   * Writes the next part of a tensor, row-major little-endian. The bytes must stay unchanged until they are written;
   * the call returns before that, and the next call throws where writing failed. The last tensor closes its shard.
   */
  async part(name: string, bytes: Uint8Array): Promise<void> {
    const place = this.#places.get(name)!
    const { shard, tensor } = place
    if (bytes.byteLength > place.left)
      throw new Error(`${name}: ${bytes.byteLength} bytes for a place of ${place.left}`)
    const offset = tensor.offset + tensor.byteLength - place.left
    place.left -= bytes.byteLength
    await this.#writing
    const file = await this.#open(shard)
    this.#writing = file.write(bytes, offset)
    this.#writing.catch(() => {}) // thrown where it is waited for
    if (place.left === 0) await this.#complete(place)
  }

  /** Tensors that are whole, in the order in which they became so. Waits until the disk has them. */
  async written(): Promise<WrittenTensor[]> {
    await this.#writing
    return this.#whole.map(name => {
      const { shard, tensor } = this.#places.get(name)!
      const { offset, byteLength } = tensor
      return { name, file: fileOf(this.#sink, shard.name), offset, byteLength }
    })
  }

  /** Tensors are there from an earlier run, in files that the sink has kept. */
  async resume(names: readonly string[]): Promise<void> {
    for (const name of names) {
      const place = this.#places.get(name)
      if (!place || place.left < place.tensor.byteLength) throw new Error(`${name} has no place, or two`)
      await this.#open(place.shard)
      place.left = 0
      await this.#complete(place)
    }
  }

  async #open(shard: Shard): Promise<SinkFile> {
    if (!shard.file) {
      shard.file = await this.#sink.create(shard.name, shard.layout.byteLength)
      await shard.file.write(shard.layout.header, 0)
    }
    return shard.file
  }

  async #complete({ shard, tensor }: Place): Promise<void> {
    this.#whole.push(tensor.name)
    shard.left--
    if (shard.left > 0) return
    await this.#writing
    await shard.file!.close()
  }

  /** Writes the index, where there are several shards, and `files`; then makes the folder appear. */
  async finish(files: readonly SideFile[]): Promise<void> {
    const missing = this.#shards.filter(s => s.left > 0)
    if (missing.length > 0) throw new Error(`tensors of ${missing.map(s => s.name)} were never written`)
    const all = this.#shards.length > 1 ? [...files, this.#index()] : files
    for (const file of all) await writeFile(this.#sink, file)
    await this.#sink.commit()
  }

  #index(): SideFile {
    const placed = [...this.#places.values()]
    return jsonFile('model.safetensors.index.json', {
      metadata: {
        total_size: placed.reduce((n, { tensor }) => n + tensor.byteLength, 0),
        total_parameters: placed.reduce((n, { tensor }) => n + elements(tensor.shape), 0),
      },
      weight_map: Object.fromEntries(placed.map(({ shard, tensor }) => [tensor.name, shard.name])),
    })
  }
}

const number = (n: number) => String(n).padStart(5, '0')
