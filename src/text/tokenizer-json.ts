// Parts of `tokenizer.json` that several readers of it want. Source of the names: the Rust tokenizers.
import { isJsonObject, type JsonObject } from '../base/json.ts'

/** All objects in a normaliser or pre-tokenizer, those inside a sequence too. */
export const parts = (value: unknown): JsonObject[] =>
  isJsonObject(value) ? [value, ...[value.normalizers, value.pretokenizers].flat().flatMap(parts)] : []

/** Whether it spells all text in characters that stand for bytes, as GPT-2's. */
export const isByteLevel = (tokenizer: JsonObject): boolean =>
  parts(tokenizer.pre_tokenizer).some(part => part.type === 'ByteLevel')

/** A token that stands for one byte, in SentencePiece vocabularies. */
export const isByteToken = (token: string): boolean => /^<0x[0-9A-F]{2}>$/.test(token)

/** @param model of a BPE tokenizer */
export const readMerges = ({ merges }: JsonObject): [string, string][] =>
  (merges as (string | [string, string])[]).map(merge =>
    typeof merge === 'string' ? (merge.split(' ') as [string, string]) : merge,
  )
