// The zero-shot tasks of lm-evaluation-harness 0.4.13 as data: prompt, choices, right answer, metrics, version, data set and split.
// Source: lm_eval/tasks/<task>/*.yaml and the Python files beside them. Fields are those of the Hub's data sets. docs/tasks.md lists the
// tasks.
import { blank, type Fields, label, question, type TaskItem, text, texts } from './item.ts'

export interface TaskDefinition {
  /** The harness's version of the task. */
  readonly version: string
  /** Items of the whole split. */
  readonly items: number
  /** Whether the harness reports acc_norm. */
  readonly norm: boolean
  /** On the Hub. Where there is no configuration, the repository has one only. */
  readonly dataset: { readonly id: string; readonly config?: string; readonly split: string }
  /** @throws Error where a field is missing or of another type */
  item(fields: Fields): TaskItem
}

const arc = (config: string, items: number): TaskDefinition => ({
  version: '1.0',
  items,
  norm: true,
  dataset: { id: 'allenai/ai2_arc', config, split: 'test' },
  item: fields => lettered(fields, 'question', stem => `Question: ${stem}\nAnswer:`),
})

export const TASKS = {
  arc_easy: arc('ARC-Easy', 2376),
  arc_challenge: arc('ARC-Challenge', 1172),
  boolq: {
    version: '2.0',
    items: 3270,
    norm: false,
    dataset: { id: 'aps/super_glue', config: 'boolq', split: 'validation' },
    item: fields =>
      question(
        `${text(fields, 'passage')}\nQuestion: ${text(fields, 'question')}?\nAnswer:`,
        ['no', 'yes'],
        label(fields, 'label'),
      ),
  },
  hellaswag: {
    version: '1.0',
    items: 10042,
    norm: true,
    dataset: { id: 'Rowan/hellaswag', split: 'validation' },
    item: fields => {
      const context = `${text(fields, 'ctx_a')} ${capitalize(text(fields, 'ctx_b'))}`
      return question(
        cleanWikiHow(`${text(fields, 'activity_label')}: ${context}`),
        texts(fields, 'endings').map(cleanWikiHow),
        label(fields, 'label'),
      )
    },
  },
  openbookqa: {
    version: '1.0',
    items: 500,
    norm: true,
    dataset: { id: 'allenai/openbookqa', config: 'main', split: 'test' },
    item: fields => lettered(fields, 'question_stem', stem => stem),
  },
  piqa: {
    version: '1.0',
    items: 1838,
    norm: true,
    dataset: { id: 'baber/piqa', split: 'validation' },
    item: fields =>
      question(
        `Question: ${text(fields, 'goal')}\nAnswer:`,
        [text(fields, 'sol1'), text(fields, 'sol2')],
        label(fields, 'label'),
      ),
  },
  winogrande: {
    version: '1.0',
    items: 1267,
    norm: false,
    dataset: { id: 'allenai/winogrande', config: 'winogrande_xl', split: 'validation' },
    item: fields => {
      // The choices fill the blank, and what is scored is the text after it: the same for both.
      const sentence = text(fields, 'sentence')
      const at = sentence.indexOf('_')
      if (at < 0) throw new Error('"sentence" has no blank "_"')
      const contexts = ['option1', 'option2'].map(option => sentence.slice(0, at) + text(fields, option))
      return blank(contexts, sentence.slice(at + 1).trim(), label(fields, 'answer') - 1)
    },
  },
} as const satisfies Record<string, TaskDefinition>

export type TaskName = keyof typeof TASKS
export const TASK_NAMES = Object.keys(TASKS) as TaskName[]

/** A question whose choices have letters. */
function lettered(fields: Fields, name: string, prompt: (stem: string) => string): TaskItem {
  const stem = text(fields, name)
  const [choices, letters] = ['text', 'label'].map(key => texts((fields.choices ?? {}) as Fields, key))
  if (choices.length !== letters.length) throw new Error(`${choices.length} choices have ${letters.length} letters`)
  return question(prompt(stem), choices, letters.indexOf(text(fields, 'answerKey').trimStart()))
}

/** Python's `str.capitalize`. */
function capitalize(string: string): string {
  const [first = '', ...rest] = string
  return first.toUpperCase() + rest.join('').toLowerCase()
}

/** `preprocess` of lm_eval/tasks/hellaswag/utils.py: brackets are left over from WikiHow. */
const cleanWikiHow = (string: string): string =>
  string
    .trim()
    .replaceAll(' [title]', '. ')
    .replace(/\[.*?\]/g, '')
    .replaceAll('  ', ' ')
