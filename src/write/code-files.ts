// The Python files that transformers needs beside a compact model (src/model/compact.ts). They are the same for all models.
import { type SideFile, textFile } from '../checkpoint/checkpoint.ts'
import configuration from './python/configuration_fasp.py'
import modeling from './python/modeling_fasp.py'

export const codeFiles = (): SideFile[] => [
  textFile('configuration_fasp.py', configuration),
  textFile('modeling_fasp.py', modeling),
]
