// Shows progress events on stderr: on a terminal one line that is rewritten, else plain lines. The result passes.
import { bytes, duration, oneLine, percent, count as quantity, wrap } from '../base/display.ts'
import type { Progress, ProgressEvent, Unit } from '../base/events.ts'
import { terminalStyle } from './process.ts'

/** Plain output gets a line at most this often. */
const PLAIN_INTERVAL_MS = 5000
const BAR_WIDTH = 20
/** What is done sooner than this was done before. */
const AT_ONCE_MS = 20

let noticesAlone = false
/** @param shown false for what `--quiet` wants: notices alone */
export const showProgressLines = (shown: boolean): void => {
  noticesAlone = !shown
}

/** Runs a generator of events to its end. @param told gets the notices, which are shown, too */
export async function showProgress<T>(events: Progress<T>, told: string[] = []): Promise<T> {
  const display = new Display(terminalStyle(process.stderr).blocks && !noticesAlone)
  try {
    for (;;) {
      const step = await events.next()
      if (step.done) return step.value
      if (step.value.type === 'notice') told.push(step.value.message)
      if (!noticesAlone || step.value.type === 'notice') display.show(step.value)
    }
  } finally {
    display.clear()
  }
}

/** Where the phase is that runs. */
class PhaseCourse {
  phase = ''
  unit: Unit = 'layers'
  total = 0
  done = 0
  /** What was done when the phase began, by an earlier run. */
  before = 0
  #tokens: number | undefined
  #started = 0
  #now = 0

  see(event: ProgressEvent): void {
    this.#now = performance.now()
    if (event.type === 'phase') {
      ;({ phase: this.phase, unit: this.unit, total: this.total } = event)
      this.done = this.before = 0
      this.#tokens = undefined
      this.#started = this.#now
    } else if (event.type === 'progress') {
      ;({ done: this.done, tokens: this.#tokens } = event)
      if ((this.phase === 'prune' || this.phase === 'heal') && this.#now - this.#started < AT_ONCE_MS)
        this.before = this.done
    }
  }

  /** Since the phase began, until the last event. */
  get seconds(): number {
    return (this.#now - this.#started) / 1000
  }

  /** What was done here. */
  get here(): number {
    return this.done - this.before
  }

  /** Through the whole model; undefined where the phase has none yet. */
  get tokensPerSecond(): number | undefined {
    const { unit, here, total, seconds } = this
    if (here === 0 || seconds < 0.1 || (unit !== 'layers' && unit !== 'tokens')) return undefined
    return (unit === 'tokens' ? here : ((this.#tokens ?? 0) * here) / total) / seconds
  }
}

class Display {
  readonly #course = new PhaseCourse()
  #lastLine = 0
  constructor(readonly terminal: boolean) {
    if (terminal) process.stderr.write('\r\x1b[Kopening') // until the first event: a large file takes seconds
  }

  show(event: ProgressEvent): void {
    this.#course.see(event)
    switch (event.type) {
      case 'notice': {
        this.clear()
        const message = oneLine(event.message)
        process.stderr.write(`${this.terminal ? wrap(message, columns()) : message}\n`)
        break
      }
      case 'run': {
        this.clear()
        const cut = event.sparsity > 0 ? ` at ${percent(event.sparsity)}` : ''
        const left = event.secondsLeft === undefined ? '' : `; ${duration(event.secondsLeft)} left for all`
        process.stderr.write(`${event.number} of ${event.total}: ${event.name}${cut}${left}\n`)
        break
      }
      case 'divergence': {
        this.clear()
        process.stderr.write(`step ${event.step} of ${event.steps}: KL ${event.kl.toFixed(4)} on held-out windows\n`)
        break
      }
      case 'phase':
        this.clear()
        this.#lastLine = 0
        this.#draw()
        break
      case 'progress':
        this.#draw()
    }
  }

  clear(): void {
    if (this.terminal) process.stderr.write('\r\x1b[K')
  }

  #draw(): void {
    const now = performance.now()
    const last = this.#course.done >= this.#course.total
    if (!this.terminal && !last && this.#lastLine > 0 && now - this.#lastLine < PLAIN_INTERVAL_MS) return
    this.#lastLine = now
    const line = this.#line()
    if (!this.terminal) process.stderr.write(`${line}\n`)
    else {
      process.stderr.write(`\r\x1b[K${line}`)
      if (last) process.stderr.write('\n')
    }
  }

  #line(): string {
    const { unit, done, total, seconds, before, here, tokensPerSecond } = this.#course
    const count = {
      layers: `layer ${done} of ${total}`,
      tokens: `${done} of ${total} tokens`,
      characters: `${quantity(done)} of ${quantity(total)} characters`,
      bytes: `${bytes(done)} of ${bytes(total)}`,
      tensors: `${done} of ${total} tensors`,
      turns: `turn ${done} of ${total}`,
      files: `${done} of ${total} files`,
    }
    const phase = `${this.#course.phase}: ${count[unit]}`
    if (done === before) return this.terminal ? fitting([[bar(0), phase], [phase]]) : phase
    const bytesRate = unit === 'bytes' && seconds >= 0.1 ? [`${bytes(here / seconds)}/s`] : []
    const rate = tokensPerSecond === undefined ? bytesRate : [`${Math.round(tokensPerSecond)} tokens/s`]
    const time = done < total ? `${duration((seconds / here) * (total - done))} left` : `took ${duration(seconds)}`
    if (!this.terminal) return [phase, ...rate, time].join('  ')
    const drawn = bar(done / total)
    return fitting([[drawn, phase, ...rate, time], [drawn, phase, time], [phase, time], [time]])
  }
}

function bar(part: number): string {
  const filled = Math.round(BAR_WIDTH * part)
  return `${'█'.repeat(filled)}${'░'.repeat(BAR_WIDTH - filled)}`
}

/** Of a terminal, less one: a line that fills the last column goes on in the next. */
const columns = () => (process.stderr.columns || 80) - 1

/** The first line that the terminal has room for, or the end of the last. */
function fitting(lines: readonly (readonly string[])[]): string {
  const joined = lines.map(parts => parts.join('  '))
  return joined.find(line => line.length <= columns()) ?? joined.at(-1)!.slice(0, columns())
}
