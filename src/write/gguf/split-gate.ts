// A model that stores gate and up in one tensor (dense Granite 4), seen with two, as llama.cpp's graph has them.
// Source: llama.cpp, conversion/granite.py (`GraniteMoeModel.modify_tensors`).
import type { Floats } from '../../formats/tensors.ts'
import { ffnHalves } from '../../model/architecture.ts'
import type { HalfBlock, Linear } from '../../model/half-block.ts'
import type { Model } from '../../model/model.ts'
import { type Move, viewed } from '../model-view.ts'
import { familyGraph } from './architecture.ts'

export function unfused(model: Model): Model {
  const { architecture: a } = model
  const [{ inputs }] = ffnHalves(a)
  if (!a.gguf || !familyGraph(a).names.ffn_gate || inputs[0].name !== inputs[1].name) return model
  const { layers, names } = familyGraph(a)
  const moves = new Map<string, Move>()
  const halves = a.halves.map((half): HalfBlock => {
    if (half.kind === 'attention') return half
    const { layer, inputs, output } = half
    const [gate, up] = inputs
    const moved = (linear: Linear, stored: string, values = (all: Floats) => all) => {
      const name = `${layers}.${layer}.${names[stored]}`
      moves.set(name, { from: linear.name, values: gram => gram })
      moves.set(`${name}.weight`, { from: `${linear.name}.weight`, values })
      return { ...linear, name }
    }
    const first = gate.out * gate.in
    return {
      ...half,
      inputs: [moved(gate, 'ffn_gate', both => both.slice(0, first)), moved(up, 'ffn_up', both => both.slice(first))],
      output: moved(output, 'ffn_down'),
    }
  })
  return viewed(model, { ...a, halves }, moves)
}
