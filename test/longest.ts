// A reporter that prints which files took longest, so that the loop stays quick.
import { relative } from 'node:path'
import type { Reporter, TestModule } from 'vitest/node'

const SHOWN = 10

/** Seconds of a file's imports, hooks and tests. */
function secondsOf(module: TestModule): number {
  const { collectDuration, duration, setupDuration } = module.diagnostic()
  return (collectDuration + duration + setupDuration) / 1000
}

export default class LongestFiles implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const longest = modules
      .map(module => ({ module, seconds: secondsOf(module) }))
      .sort((a, b) => b.seconds - a.seconds)
    console.log(`\nThe longest of ${modules.length} files:`)
    for (const { module, seconds } of longest.slice(0, SHOWN))
      console.log(`${seconds.toFixed(1).padStart(7)} s  ${relative(process.cwd(), module.moduleId)}`)
  }
}
