// All targets, and what makes a case of one.
import { documents } from './documents.ts'
import { models } from './models.ts'
import { Dice } from './mutate.ts'
import type { Files, Target } from './target.ts'
import { tokenizers } from './tokenizers.ts'
import { weights } from './weights.ts'

export const TARGETS: Readonly<Record<string, Target>> = { ...weights, ...documents, ...tokenizers, ...models }

/** The files of one case: the same whichever cases ran before it. */
export const makeCase = (target: Target, seed: number, number: number): Files =>
  target.make(new Dice(seed * 1_000_003 + number))
