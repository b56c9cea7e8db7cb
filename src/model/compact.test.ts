import { expect, test } from 'vitest'
import type { Architecture } from './architecture.ts'
import { compactConfig, stockConfig } from './compact.ts'

const of = (modelType: string) => ({ modelType }) as Architecture

test('a config as a stock model has the classes of its source, whatever the family', () => {
  const architectures = ['MistralForCausalLM']
  expect(stockConfig(of('mistral'), { architectures })).toEqual({ model_type: 'mistral', architectures })
  for (const modelType of ['llama', 'opt']) {
    const source = {
      model_type: modelType,
      architectures: [modelType === 'opt' ? 'OPTForCausalLM' : 'LlamaForCausalLM'],
    }
    expect(stockConfig(of(modelType), { ...source, ...compactConfig(of(modelType), []) })).toEqual(source)
  }
})

test('a family without Python classes has no compact config', () => {
  expect(() => compactConfig(of('mistral'), [])).toThrow('layout compact has no code for models of type mistral')
})
