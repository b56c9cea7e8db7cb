// Steps 3 and 4, loaded when there is work: what comes before is small.
export { ResultStep } from './result.tsx'
export { WorkStep } from './work.tsx'
