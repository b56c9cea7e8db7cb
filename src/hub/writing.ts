// What writes to the Hub, apart from what reads: a page that only reads loads none of it.
export { commitIter, createBranch, createRepo } from '@huggingface/hub'
