// What made the runs of a result, as reports say it.
import { bytes } from '../base/display.ts'
import { type EngineFacts, engineText } from '../engine/facts.ts'
import { runLabel } from './labels.ts'
import { type Machine, type Made, madeOf, type ResultFile } from './result-file.ts'

export const softwareText = (machine: Machine): string =>
  `${machine.browser ?? `Node ${machine.node}`}, ${engineText(machine)}`

export function hardwareText({ cpu, cores, threads, memoryBytes, platform, device }: Machine): string {
  const used = threads === undefined ? '' : `${threads} of `
  const memory = memoryBytes === undefined ? undefined : bytes(memoryBytes)
  return [cpu, `${used}${cores} cores`, memory, platform, device].filter(one => one !== undefined).join(', ')
}

const machineText = (machine: Machine): string => `${softwareText(machine)}; ${hardwareText(machine)}`

/** By what, when and where: once where all runs agree, otherwise a line for each, with the runs that it made. */
export function madeLines(result: Pick<ResultFile, 'runs' | keyof Made>): string[] {
  const found = result.runs.map(run => ({ run, ...madeOf(run, result) }))
  const keyOf = ({ fasp, machine }: Omit<Made, 'created'>) => JSON.stringify([fasp, machineText(machine)])
  return [...new Set(found.map(keyOf))].map((key, _, { length }) => {
    const same = found.filter(one => keyOf(one) === key)
    const [{ fasp, machine }] = same
    const days = same.map(({ created }) => created.slice(0, 10)).sort()
    const when = [...new Set([days[0], days.at(-1)])].join(' to ')
    const which = length > 1 ? `${same.map(({ run }) => runLabel(run)).join(', ')}: ` : ''
    return `${which}fasp ${fasp}, ${when}, ${machineText(machine)}`
  })
}

/** For users, before a run. */
export const engineNotice = ({ blas }: EngineFacts): string | undefined =>
  blas && `Gram matrices and solves are made by ${blas}. --blas none does without.`

/** For users, before a run: how much of a device's memory it takes. */
export const roomNotice = ({ device, deviceMemory }: EngineFacts): string | undefined =>
  deviceMemory === undefined
    ? undefined
    : `Up to ${bytes(deviceMemory)} on ${device} hold weights, rows and sums (--device-memory).`
