// Pre-tokenizers of byte-level BPE vocabularies in GGUF files, by `tokenizer.ggml.pre`, as tokenizer.json spells them.
// Source: llama.cpp, src/llama-vocab.cpp, and the tokenizer.json of the models that the names stand for.

export interface PreTokenizer {
  readonly normalizer: object | null
  readonly preTokenizer: object
  /** A word that is in the vocabulary is taken whole. */
  readonly ignoreMerges: boolean
  /** Where the file does not say. */
  readonly addBos: boolean
}

const byteLevel = (useRegex: boolean) => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: useRegex,
})
const split = (regex: string) => ({ type: 'Split', pattern: { Regex: regex }, behavior: 'Isolated', invert: false })
const sequence = (...pretokenizers: object[]) => ({ type: 'Sequence', pretokenizers })

const GPT2_WORDS = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)"
/** Words of Llama 3 and Qwen 2, which differ in how many digits stay together. */
const tiktokenWords = (digits: string) =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}|` +
  ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+'
const TEKKEN_WORDS =
  '[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+' +
  '|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*' +
  '|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+'

const plain = (preTokenizer: object): PreTokenizer => ({
  normalizer: null,
  preTokenizer,
  ignoreMerges: false,
  addBos: false,
})

const gpt2 = plain(byteLevel(true))
// Digits(individual_digits) means \p{N} in Rust and ASCII in JavaScript: this pattern means the same in both.
const digitsApart = plain(sequence(split('\\p{N}'), byteLevel(true)))
const llama3 = {
  ...plain(sequence(split(tiktokenWords('\\p{N}{1,3}')), byteLevel(false))),
  ignoreMerges: true,
  addBos: true,
}
const qwen2 = {
  ...plain(sequence(split(tiktokenWords('\\p{N}')), byteLevel(false))),
  normalizer: { type: 'NFC' },
}
const tekken = { ...plain(sequence(split(TEKKEN_WORDS), byteLevel(false))), ignoreMerges: true, addBos: true }
// What llama.cpp does with files from before it wrote the name.
const unnamed = plain(
  sequence(
    split('[\\p{P}\\$\\+<=>\\^~\\|]+'),
    split(GPT2_WORDS),
    split('\\p{N}+'),
    split('[0-9][0-9][0-9]'),
    byteLevel(false),
  ),
)

export const PRE_TOKENIZERS: ReadonlyMap<string, PreTokenizer> = new Map([
  ['default', unnamed],
  ['gpt-2', gpt2],
  ['exaone4', gpt2],
  ['olmo', { ...gpt2, normalizer: { type: 'NFC' } }], // of GPT-NeoX
  // As SmolLM and llama.cpp; transformers' GGUF reader (5.24) takes plain GPT-2: one token in 10^5 differs.
  ['smollm', digitsApart],
  ['starcoder', digitsApart],
  ['refact', digitsApart],
  ['llama-bpe', llama3],
  ['llama3', llama3],
  ['llama-v3', llama3],
  ['falcon3', llama3],
  ['pixtral', llama3],
  ['smaug-bpe', { ...llama3, ignoreMerges: false, addBos: false }],
  ['dbrx', { ...llama3, ignoreMerges: false, addBos: false }],
  ['qwen2', qwen2],
  ['deepseek-r1-qwen', { ...qwen2, normalizer: null }],
  ['megrez', { ...qwen2, normalizer: null }],
  ['tekken', tekken],
])
