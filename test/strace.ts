// System calls of the binary, where strace is installed; CI installs it and sets FASP_REQUIRE_STRACE.
import { execFileSync } from 'node:child_process'

export const hasStrace = (() => {
  try {
    execFileSync('strace', ['-o', '/dev/null', 'true'], { stdio: 'pipe' })
    return true
  } catch (error) {
    if (process.env.FASP_REQUIRE_STRACE) throw error
    console.warn('no strace here: what the binary asks of the system is not looked at')
    return false
  }
})()
