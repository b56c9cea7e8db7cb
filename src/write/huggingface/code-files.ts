// The Python files that transformers needs beside a compact model (src/model/compact.ts). They are written for LLaMA;
// for another family its class names take the place of LLaMA's.
import { type SideFile, textFile } from '../../checkpoint/checkpoint.ts'
import type { compactConfig } from '../../model/compact.ts'
import configuration from './python/configuration_fasp.py'
import modeling from './python/modeling_fasp.py'

export function codeFiles({
  classes,
  headClass = classes,
  modelType,
}: Parameters<typeof compactConfig>[0]): SideFile[] {
  const of = (text: string) =>
    text
      .replaceAll('fasp_llama', `fasp_${modelType}`)
      .replaceAll('LlamaForCausalLM', `${headClass}ForCausalLM`)
      .replaceAll('Llama', classes)
  return [textFile('configuration_fasp.py', of(configuration)), textFile('modeling_fasp.py', of(modeling))]
}
