import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { TextError, UnsupportedModelError, UsageError } from '../base/errors.ts'
import { calibrationWindows, evaluationWindows } from './windows.ts'

const count = (n: number) => Int32Array.from({ length: n }, (_, i) => i)
const starts = (windows: readonly Int32Array[]) => windows.map(window => window[0])

describe('calibrationWindows', () => {
  test('refuses a length that no window can have', () => {
    for (const seqLen of [0, 1, -4, 2.5, Number.NaN])
      expect(() => calibrationWindows([{ name: 'a.txt', ids: count(9) }], seqLen, 1, 1)).toThrow(UsageError)
  })

  test('holds out windows that are not calibrated on, spread over the rest, as many as there are', () => {
    const texts = [
      { name: 'a.txt', ids: count(75) },
      { name: 'b.txt', ids: count(29) },
    ]
    const { windows, heldOut, texts: shares } = calibrationWindows(texts, 10, 4, 100, 3)
    expect(starts(windows)).toEqual([0, 30, 0, 10])
    expect(starts(heldOut!)).toEqual([10, 20, 50])
    expect(shares.map(text => text.heldOut)).toEqual([3, 0])
    expect(calibrationWindows(texts, 10, 4, 100).heldOut).toEqual([])
  })

  test('spreads the samples over the text', () => {
    const { windows, texts } = calibrationWindows([{ name: 'a.txt', ids: count(75) }], 10, 3, 100)
    expect(starts(windows)).toEqual([0, 20, 40])
    expect(texts).toEqual([{ name: 'a.txt', tokens: 75, available: 7, used: 3, heldOut: 0 }])
  })

  test('divides the samples equally and gives the remainder to the first texts', () => {
    const texts = ['a', 'b', 'c'].map(name => ({ name, ids: count(100) }))
    expect(calibrationWindows(texts, 10, 8, 100).texts.map(text => text.used)).toEqual([3, 3, 2])
  })

  test('takes all of a text that has fewer windows than its share', () => {
    const texts = [
      { name: 'short', ids: count(25) },
      { name: 'long', ids: count(100) },
    ]
    const { windows, texts: shares } = calibrationWindows(texts, 10, 8, 100)
    expect(shares.map(share => share.used)).toEqual([2, 4])
    expect(starts(windows)).toEqual([0, 10, 0, 20, 50, 70])
  })

  test('never takes a window twice', () => {
    fc.assert(
      fc.property(fc.integer({ min: 4, max: 400 }), fc.integer({ min: 1, max: 50 }), (tokens, samples) => {
        const found = starts(calibrationWindows([{ name: 'a', ids: count(tokens) }], 4, samples, tokens).windows)
        expect(new Set(found).size).toBe(Math.min(samples, Math.floor(tokens / 4)))
      }),
    )
  })

  test('refuses fewer samples than texts', () => {
    const texts = ['a', 'b'].map(name => ({ name, ids: count(20) }))
    expect(() => calibrationWindows(texts, 10, 1, 100)).toThrow(/--windows 2/)
    expect(() => calibrationWindows([], 10, 1, 100)).toThrow(UsageError)
  })

  test('names the text that is too short and says what to do', () => {
    const texts = [
      { name: 'long.txt', ids: count(20) },
      { name: 'short.txt', ids: count(9) },
    ]
    const run = () => calibrationWindows(texts, 10, 2, 100)
    expect(run).toThrow(TextError)
    expect(run).toThrow(/short\.txt: 9 tokens.*window of 10.*--seq-len of at most 9/)
  })

  test('refuses a token that the model does not have', () => {
    const run = (ids: number[]) => calibrationWindows([{ name: 'a.txt', ids }], 2, 1, 16)
    expect(() => run([15, 16])).toThrow(UnsupportedModelError)
    expect(() => run([15, 16])).toThrow(/a\.txt.*token 16.*0 to 15/)
    expect(() => run([0, 15])).not.toThrow()
  })
})

describe('evaluationWindows', () => {
  test('takes the first windows, or all', () => {
    const text = { name: 'a.txt', ids: count(75) }
    expect(starts(evaluationWindows(text, 10, 100, 3).windows)).toEqual([0, 10, 20])
    expect(starts(evaluationWindows(text, 10, 100).windows)).toEqual([0, 10, 20, 30, 40, 50, 60])
    expect(evaluationWindows(text, 10, 100, 99).texts[0].used).toBe(7)
    expect(() => evaluationWindows(text, 10, 100, 0)).toThrow(UsageError)
  })

  test('refuses an empty text', () => {
    expect(() => evaluationWindows({ name: 'empty.txt', ids: [] }, 10, 100)).toThrow(/empty\.txt: 0 tokens/)
  })
})
