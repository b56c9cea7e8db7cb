// A folder in what is unfinished, and the file in it that says what a run can go on from (output/state.ts).
export const STATE = 'state'
export const MANIFEST = 'manifest.json'
