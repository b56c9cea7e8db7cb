// What results and users are told of an engine. Nothing else asks what an engine consists of.

export interface EngineFacts {
  readonly onnxruntime: string
  readonly device: string
  /** How graphs reach ONNX Runtime: through its `C interface` or the `binding` of its package. */
  readonly graphs?: string
  /** Threads of one operator. @default one for each physical core, by ONNX Runtime */
  readonly threads?: number
  /** Bytes of a GPU's memory for weights, rows and sums. Absent in a page, and on the CPU. */
  readonly deviceMemory?: number
  /** Name of the BLAS library in use. */
  readonly blas?: string
  /** Name and version of OpenVINO's plugin, where products are in bf16. */
  readonly openvino?: string
}

/** Libraries that multiply besides ONNX Runtime. */
const librariesBeside = ({ blas, openvino }: EngineFacts): string[] =>
  [blas, openvino].filter(name => name !== undefined)

export const engineText = (facts: EngineFacts): string =>
  [`ONNX Runtime ${facts.onnxruntime}${facts.graphs ? ` (${facts.graphs})` : ''}`, ...librariesBeside(facts)].join(', ')
