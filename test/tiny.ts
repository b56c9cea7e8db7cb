// The tiny models and what PyTorch gives on them (test/fixtures/golden/README.md): in the repository, for every clone to check against.
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Model, Windows } from '../src/node.ts'
import { TINY_LLAMA } from './fasp.ts'

const fixture = (path: string) => fileURLToPath(new URL(`fixtures/${path}`, import.meta.url))

export const TINY_OPT = fixture('tiny-opt')
export const TINY_MODELS = { 'tiny-llama': TINY_LLAMA, 'tiny-opt': TINY_OPT }
export type TinyModel = keyof typeof TINY_MODELS
export const TINY_NAMES = Object.keys(TINY_MODELS) as TinyModel[]

/** tiny-llama of its first layers, for what more of them show no better: a folder `tiny-llama`, made once. */
export function tinyOf(layers: number): string {
  const file = readFileSync(join(TINY_LLAMA, 'model.safetensors'))
  const hash = createHash('sha256').update(file).digest('hex').slice(0, 16)
  const folder = join(tmpdir(), `fasp-${layers}-layers-${hash}`)
  if (!existsSync(folder)) {
    const made = mkdtempSync(`${folder}-`)
    const model = join(made, 'tiny-llama')
    cpSync(TINY_LLAMA, model, { recursive: true })
    const config = JSON.parse(readFileSync(join(model, 'config.json'), 'utf8'))
    writeFileSync(join(model, 'config.json'), JSON.stringify({ ...config, num_hidden_layers: layers }))
    const gone = (name: string) => Number(/\.layers\.(\d+)\./.exec(name)?.[1] ?? 0) >= layers
    writeFileSync(join(model, 'model.safetensors'), withoutTensors(file, gone))
    try {
      renameSync(made, folder)
    } catch {
      rmSync(made, { recursive: true }) // another process was first
    }
  }
  return join(folder, 'tiny-llama')
}

export const tinyOf2Layers = () => tinyOf(2)

function withoutTensors(file: Buffer, gone: (name: string) => boolean): Buffer {
  const start = 8 + Number(file.readBigUInt64LE())
  const header: Record<string, { data_offsets?: [number, number] }> = JSON.parse(file.toString('utf8', 8, start))
  const parts: Buffer[] = []
  let end = 0
  for (const [name, info] of Object.entries(header)) {
    if (!info.data_offsets) continue // metadata
    const part = file.subarray(...(info.data_offsets.map(at => start + at) as [number, number]))
    if (gone(name)) delete header[name]
    else {
      parts.push(part)
      info.data_offsets = [end, (end += part.length)]
    }
  }
  const text = JSON.stringify(header)
  const json = Buffer.from(text.padEnd(8 * Math.ceil(text.length / 8)))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.length))
  return Buffer.concat([length, json, ...parts])
}

export const goldenOf = (name: TinyModel) => JSON.parse(readFileSync(fixture(`golden/${name}.json`), 'utf8'))
export const goldenLogitsOf = (name: TinyModel) => fixture(`golden/${name}-logits.safetensors`)

/** As the oracles of other tools had tiny-llama. Its own context is what it was trained on. */
export const withContext = (model: Model, maxPositions: number): Model => ({
  ...model,
  architecture: { ...model.architecture, maxPositions },
})

/** Windows of a golden. */
export const asWindows = (rows: number[][]): Windows => ({
  seqLen: rows[0].length,
  windows: rows.map(row => Int32Array.from(row)),
  texts: [{ name: 'golden', tokens: 0, available: rows.length, used: rows.length }],
})
