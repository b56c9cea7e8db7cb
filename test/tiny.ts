// The tiny models and what PyTorch gives on them (test/fixtures/golden/README.md): in the repository, for every clone to check against.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Model, Windows } from '../src/node.ts'
import { TINY_LLAMA } from './fasp.ts'

const fixture = (path: string) => fileURLToPath(new URL(`fixtures/${path}`, import.meta.url))

export const TINY_OPT = fixture('tiny-opt')
export const TINY_MODELS = { 'tiny-llama': TINY_LLAMA, 'tiny-opt': TINY_OPT }
export type TinyModel = keyof typeof TINY_MODELS
export const TINY_NAMES = Object.keys(TINY_MODELS) as TinyModel[]

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
