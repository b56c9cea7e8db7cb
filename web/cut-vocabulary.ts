// What cuts a vocabulary, with a tokenizer: loaded when that is first asked for.
export { cutVocabulary } from '../src/web.ts'
