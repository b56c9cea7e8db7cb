import { expect, test } from 'vitest'
import { sameCorpus } from './corpus.ts'

test.each([
  ['a/wikitext2-valid.txt', 'b/wikitext2-test.txt', true],
  ['wikitext-2.valid.jsonl.gz', 'WikiText2_test.txt', true],
  ['c4-train.00000-of-01024.jsonl.gz', 'c4-validation.00003-of-00008.jsonl', true],
  ['novels.txt', 'other/novels.txt', true],
  ['novels.txt', 'wikitext2-test.txt', false],
  ['train.txt', 'test.txt', false],
  ['wikitext2-valid.txt', 'wikitext103-test.txt', false],
  ['c4-like.txt', 'c4.txt', false],
])('%s and %s: %s', (one, other, same) => {
  expect(sameCorpus(one, other)).toBe(same)
  expect(sameCorpus(other, one)).toBe(same)
})
