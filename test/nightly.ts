// What the nightly run has more of than those of every change: there each kind keeps what stands for it.

import { test } from 'vitest'

export const NIGHTLY = Boolean(process.env.FASP_NIGHTLY)

/** All of them nightly. @param stands what is there in every run, too */
export const someOf = <T>(all: readonly T[], stands: (one: T, i: number) => boolean): T[] =>
  all.filter((one, i) => NIGHTLY || stands(one, i))

/** `test` of the nightly run: another test stands for it in every run. */
export const nightly = (NIGHTLY ? test : () => {}) as typeof test
