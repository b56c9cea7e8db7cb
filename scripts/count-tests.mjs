// Counts the tests in vitest's JSON report for .ci/run. usage: node scripts/count-tests.mjs REPORT EXIT_STATUS
// Prints `N passed, N failed`. Where the shared folder is there, nothing has a reason to be skipped: a skipped test counts as failed.
// A test file that did not run, and a run that failed beyond its tests (an error outside all tests), count as one failure each.
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const [report, exitStatus] = process.argv.slice(2)
if (!existsSync(report)) {
  console.error(`vitest ended with status ${exitStatus} and left no report`)
  console.log('0 passed, 1 failed')
  process.exit()
}
const { testResults, numPassedTests } = JSON.parse(readFileSync(report, 'utf8'))
const shared = process.env.FASP_SHARED ?? fileURLToPath(new URL('../../shared', import.meta.url))

let failed = 0
for (const { name, status, assertionResults, message } of testResults) {
  const broken = assertionResults.filter(test => test.status === 'failed')
  const skipped = assertionResults.filter(test => test.status !== 'failed' && test.status !== 'passed')
  failed += broken.length
  for (const test of broken)
    console.error(`failed: ${name}: ${test.fullName}: ${test.failureMessages[0]?.split('\n')[0]}`)
  if (existsSync(shared)) {
    for (const test of skipped) console.error(`skipped, counted as failed: ${name}: ${test.fullName}`)
    failed += skipped.length
  }
  if (status === 'failed' && broken.length === 0) {
    console.error(`failed outside its tests: ${name}: ${message}`)
    failed += 1
  }
}
if (failed === 0 && (exitStatus !== '0' || numPassedTests === 0)) {
  console.error(`vitest ended with status ${exitStatus} after ${numPassedTests} passed tests`)
  failed += 1
}
console.log(`${numPassedTests} passed, ${failed} failed`)
