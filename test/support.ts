// What a passed test proves of a family: a row of the report of all suites, family × scope × layout × runtime.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { TestRunner } from 'vitest'

declare module '@vitest/runner' {
  interface TaskMeta {
    proves?: Support[]
  }
}

interface Support {
  readonly family: string
  /** As `--method` takes it; `dense` for a model that nothing was cut of. */
  readonly scope: string
  readonly layout: string
  readonly runtime: Runtime
}

type Runtime = 'fasp' | 'ONNX Runtime' | 'transformers' | 'llama.cpp' | 'transformers.js'

/** Methods that cut each scope, and the layouts that they write. */
export const SCOPES = [
  ...['ffn', 'ffn+ragged', 'ffn+per-head', 'ffn+rotate'].map(scope => ({
    scope,
    method: `plain:scope=${scope}:multiple=2`,
    layouts: ['compact', 'padded', 'stock'],
  })),
  { scope: 'ffn+heads', method: 'wanda-sp', layouts: ['padded'] },
  { scope: 'layers', method: 'shortgpt', layouts: ['stock'] },
]

/** The running test shows, if it passes, that the model of this folder runs there. */
export function proves(runtime: Runtime, folder: string): void {
  const json = (name: string) => JSON.parse(readFileSync(join(folder, name), 'utf8'))
  const meta = TestRunner.getCurrentTest()!.meta
  const support = (family: string, scope: string, layout: string) =>
    (meta.proves = [...(meta.proves ?? []), { family, scope, layout, runtime }])
  if (!existsSync(join(folder, 'fasp.json'))) {
    const { model_type } = json('config.json')
    if (!model_type.startsWith('fasp_')) support(model_type, 'dense', 'stock')
    return
  }
  const { source, options } = json('fasp.json')
  support(source.modelType, options.scope === 'ffn+vo' ? `ffn+${options.vo}` : options.scope, options.layout)
}
