// What results and users are told of an engine. Nothing else asks what it consists of.
import { bytes } from '../base/display.ts'

export interface EngineFacts {
  readonly onnxruntime: string
  readonly device: string
  /** How graphs reach ONNX Runtime: through its `C interface` or the `binding` of its package. */
  readonly graphs?: string
  /** Of one operator, as asked for. Absent: as ONNX Runtime chooses, one for each physical core. */
  readonly threads?: number
  /** Bytes of a GPU's memory for what stays there. Absent in a page, and where nothing does. */
  readonly deviceMemory?: number
  /** Name of the BLAS library in use, absent without one. */
  readonly blas?: string
  /** Name and version of OpenVINO's plugin, where products are in bf16. */
  readonly openvino?: string
}

/** Those that are text where they are there. */
export const OPTIONAL_FACTS = ['graphs', 'blas', 'openvino'] as const

/** What multiplies beside ONNX Runtime. */
export const librariesBeside = ({ blas, openvino }: EngineFacts): string[] =>
  [blas, openvino].filter(name => name !== undefined)

export const engineText = (facts: EngineFacts): string =>
  [`ONNX Runtime ${facts.onnxruntime}${facts.graphs ? ` (${facts.graphs})` : ''}`, ...librariesBeside(facts)].join(', ')

/** What a user is to know before a run on it, if anything. */
export const engineNotice = ({ blas }: EngineFacts): string | undefined =>
  blas && `Gram matrices and solves are made by ${blas}. --blas none does without.`

/** How much of a device's memory a run takes, to be said before it. */
export const roomNotice = ({ device, deviceMemory }: EngineFacts): string | undefined =>
  deviceMemory === undefined
    ? undefined
    : `Up to ${bytes(deviceMemory)} on ${device} hold weights, rows and sums (--device-memory).`
