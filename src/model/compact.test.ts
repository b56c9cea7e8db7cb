import { expect, test } from 'vitest'
import type { Architecture } from './architecture.ts'
import { compactConfig, stockConfig } from './compact.ts'

const of = (modelType: string, classes = 'Llama') => ({ modelType, classes }) as Architecture

test('a config as a stock model has the classes of its source, whatever the family', () => {
  const architectures = ['MistralForCausalLM']
  expect(stockConfig(of('mistral'), { architectures })).toEqual({ model_type: 'mistral', architectures })
  for (const [modelType, classes] of [
    ['llama', 'Llama'],
    ['opt', 'OPT'],
  ]) {
    const a = of(modelType, classes)
    const source = { model_type: modelType, architectures: [`${classes}ForCausalLM`] }
    expect(stockConfig(a, { ...source, ...compactConfig(a, []) })).toEqual(source)
  }
})
