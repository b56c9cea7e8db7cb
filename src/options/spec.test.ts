// The documentation of option types against the specification: `@default` says what `--help` says.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { describe, expect, test } from 'vitest'
import { GROUPS, OPTIONS } from './spec.ts'
import { takenBy, VERBS, type VerbName } from './verbs.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** By the verb that takes the options. */
const DOCUMENTED: Partial<Record<VerbName, readonly (readonly [file: string, type: string])[]>> = {
  prune: [
    ['src/options/options.ts', 'Amount'],
    ['src/options/options.ts', 'PruneOptions'],
    ['src/verbs/prune.node.ts', 'PlanOptions'],
    ['src/verbs/prune.node.ts', 'PrunePathOptions'],
  ],
  heal: [
    ['src/heal/healing.node.ts', 'HealingOptions'],
    ['src/verbs/heal.node.ts', 'HealOptions'],
  ],
  compare: [['src/compare/options.ts', 'CompareOptions']],
  evaluate: [
    ['src/evaluate/measure.ts', 'MeasureOptions'],
    ['src/evaluate/tasks/evaluate.ts', 'TaskOptions'],
    ['src/verbs/evaluate.node.ts', 'EvaluateOptions'],
  ],
  generate: [
    ['src/forward/generate.ts', 'GenerateOptions'],
    ['src/forward/sampler.ts', 'SamplingOptions'],
  ],
  exportModel: [['src/verbs/export.node.ts', 'ExportPathOptions']],
  openEngine: [['src/engine/options.ts', 'EngineOptions']],
  push: [['src/hub/push.ts', 'PushOptions']],
}

/** `@default` of each property of an interface. */
function documentedDefaults(file: string, type: string): [name: string, text: string][] {
  const source = ts.createSourceFile(file, readFileSync(`${root}${file}`, 'utf8'), ts.ScriptTarget.Latest, true)
  const found = source.statements.find(one => ts.isInterfaceDeclaration(one) && one.name.text === type)
  expect(found, `${type} in ${file}`).toBeDefined()
  return (found as ts.InterfaceDeclaration).members.flatMap(member => {
    const tag = ts.getJSDocTags(member).find(({ tagName }) => tagName.text === 'default')
    return tag ? [[member.name!.getText(source), ts.getTextOfJSDocComment(tag.comment)!.replace(/\s+/g, ' ')]] : []
  })
}

describe.each(Object.entries(DOCUMENTED))('%s', (verb, types) => {
  test.each(types)('%s %s documents the defaults of the specification', (file, type) => {
    const taken = takenBy(verb as VerbName, 'node')
    for (const [name, text] of documentedDefaults(file, type)) {
      const value = taken[name]?.default
      if (value !== undefined) expect.soft(text.replace(/^'(.*)'$/, '$1'), `${type}.${name}`).toBe(String(value))
    }
  })
})

test('an option is declared once, has help where it has a place on the command line, and somebody has it', () => {
  const groups = Object.values(GROUPS).flatMap(group => Object.keys(group))
  expect(new Set(groups).size).toBe(groups.length)
  const listed = Object.values(VERBS).flatMap(verb =>
    Object.values(verb).flatMap(names => (Array.isArray(names) ? names : [])),
  )
  for (const [name, option] of Object.entries(OPTIONS)) {
    expect(Boolean('type' in option && option.help), name).toBe(groups.includes(name))
    expect(listed, name).toContain(name)
  }
})
