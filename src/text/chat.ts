// Chats: messages → text by the template beside the tokenizer, as `apply_chat_template` of transformers 5.24 gives it
// (utils/chat_template_utils.py, tokenization_utils_base.py), without tokens around it.
import { Template } from '@huggingface/jinja'
import { UnsupportedModelError, UsageError } from '../base/errors.ts'
import { isJsonObject } from '../base/json.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import type { TextTokenizer } from './tokenizer.ts'

export interface ChatMessage {
  /** system, user, assistant, or what else the template knows. */
  readonly role: string
  readonly content: string
}

/** A text to go on with, or a chat to answer in. */
export type Prompt = string | readonly ChatMessage[]

type Source = Pick<Checkpoint, 'name' | 'sideFiles' | 'tokenizerConfig' | 'within'>

/** The longest have some 30,000. */
const MAX_TEMPLATE_CHARACTERS = 2 ** 18
/** Milliseconds are usual. A stranger wrote the template: `range` of a billion takes more than V8 has. */
const SECONDS = 1

/** A prompt's text and ids. @throws UsageError for a chat without a template; UnsupportedModelError where it fails */
export function encodePrompt(checkpoint: Source, tokenizer: TextTokenizer, prompt: Prompt) {
  if (typeof prompt === 'string') return { text: prompt, ids: [...tokenizer.encode(prompt)] }
  const text = applyChatTemplate(checkpoint, prompt)
  return { text, ids: [...tokenizer.encode(text, 'the chat', { around: false })] } // the template has its own BOS
}

const MESSAGE = 'fasp-message'

/** Ids of a chat before the user's first message. Undefined without a template, or where the template fails. */
export function messageStart(checkpoint: Source, tokenizer: TextTokenizer): Int32Array | undefined {
  if (chatTemplate(checkpoint) === undefined) return undefined
  try {
    const [start, after] = applyChatTemplate(checkpoint, [{ role: 'user', content: MESSAGE }]).split(MESSAGE)
    return after === undefined ? undefined : tokenizer.encode(start, 'the chat', { around: false })
  } catch (error) {
    if (error instanceof UnsupportedModelError) return undefined
    throw error
  }
}

/** Undefined where there is none. */
export function chatTemplate({ sideFiles, tokenizerConfig }: Source): string | undefined {
  const file = sideFiles.find(({ name }) => name === 'chat_template.jinja')
  if (file) return new TextDecoder().decode(file.bytes)
  const { chat_template: given } = tokenizerConfig
  const named = Array.isArray(given) ? given.find(one => one?.name === 'default')?.template : given
  return typeof named === 'string' ? named : undefined
}

/** What the model sees of a chat, up to where its answer begins. @throws as `encodePrompt` */
export function applyChatTemplate(checkpoint: Source, messages: readonly ChatMessage[]): string {
  const { name, tokenizerConfig, within } = checkpoint
  const isText = (message: ChatMessage) => [message?.role, message?.content].every(one => typeof one === 'string')
  if (messages.length === 0 || !messages.every(isText))
    throw new UsageError("the chat is not a list of messages { role: 'user', content: 'text' }, one at least.")
  const template = chatTemplate(checkpoint)
  if (template === undefined)
    throw new UsageError(
      `${name}: it has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json), ` +
        'so it was not trained for chats. Give it a text to go on with instead.',
    )
  const fails = (problem: string, cause?: unknown) =>
    new UnsupportedModelError(`${name}: its chat template fails (${problem}). Give it a text to go on with instead.`, {
      cause,
    })
  const { length } = template
  if (length > MAX_TEMPLATE_CHARACTERS)
    throw fails(`it has ${length} characters; at most ${MAX_TEMPLATE_CHARACTERS} are allowed`)
  const tokens = Object.entries(tokenizerConfig)
    .filter(([key]) => key.endsWith('_token'))
    .map(([key, token]) => [key, isJsonObject(token) ? token.content : token])
    .filter(([, token]) => typeof token === 'string')
  const given = { messages, add_generation_prompt: true, tools: null, documents: null, ...Object.fromEntries(tokens) }
  const render = () => new Template(template).render(given)
  const tooLate = () => fails(`no end after a second`)
  try {
    return within ? within(SECONDS, render, tooLate) : render()
  } catch (error) {
    throw error instanceof UnsupportedModelError ? error : fails((error as Error).message, error)
  }
}
