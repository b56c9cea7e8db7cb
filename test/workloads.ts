// Shapes of published models, as bench/workload.mjs has them, with as many layers as a test wants.
import { readFileSync } from 'node:fs'
import type { JsonObject } from '../src/base/json.ts'

const WORKLOADS = JSON.parse(readFileSync(new URL('../bench/workloads.json', import.meta.url), 'utf8'))

/** The config.json of `smollm2`, `opt-125m`, `llama-7b`, or of some layers of one: `llama-7b-8`. */
export function configOf(name: string): JsonObject {
  const [, model, layers] = /^(smollm2|opt-125m|llama-7b)(?:-(\d+))?$/.exec(name)!
  const { config } = WORKLOADS[model]
  return layers ? { ...config, num_hidden_layers: Number(layers) } : config
}
