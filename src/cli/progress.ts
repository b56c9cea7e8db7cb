// Shows progress events on stderr: one line that is rewritten on a terminal, plain lines otherwise. The result passes through.

import { bytes, duration, percent, count as quantity } from '../display.ts'
import type { ProgressEvent, Unit } from '../events.ts'
import { terminalStyle } from './environment.ts'

/** Plain output gets a line at most this often. */
const PLAIN_INTERVAL_MS = 5000
const BAR_WIDTH = 20

/** Runs a generator of events to its end. @param told gets the notices, which are shown, too */
export async function showProgress<T>(events: AsyncGenerator<ProgressEvent, T>, told: string[] = []): Promise<T> {
  const display = new Display(terminalStyle(process.stderr).blocks)
  try {
    for (;;) {
      const step = await events.next()
      if (step.done) return step.value
      if (step.value.type === 'notice') told.push(step.value.message)
      display.show(step.value)
    }
  } finally {
    display.clear()
  }
}

class Display {
  #phase = ''
  #unit: Unit = 'layers'
  #total = 0
  #started = 0
  #lastLine = 0
  constructor(readonly terminal: boolean) {}

  show(event: ProgressEvent): void {
    switch (event.type) {
      case 'notice':
        this.clear()
        process.stderr.write(`${event.message}\n`)
        break
      case 'run': {
        this.clear()
        const cut = event.sparsity > 0 ? ` at ${percent(event.sparsity)}` : ''
        const left = event.secondsLeft === undefined ? '' : `; ${duration(event.secondsLeft)} left for all`
        process.stderr.write(`${event.number} of ${event.total}: ${event.name}${cut}${left}\n`)
        break
      }
      case 'phase':
        this.clear()
        this.#phase = event.phase
        this.#unit = event.unit
        this.#total = event.total
        this.#started = performance.now()
        this.#lastLine = 0
        this.#draw(0, undefined)
        break
      case 'progress':
        this.#draw(event.done, event.tokens)
    }
  }

  clear(): void {
    if (this.terminal && this.#phase) process.stderr.write('\r\x1b[K')
  }

  #draw(done: number, tokens: number | undefined): void {
    const now = performance.now()
    const last = done >= this.#total
    if (!this.terminal && !last && this.#lastLine > 0 && now - this.#lastLine < PLAIN_INTERVAL_MS) return
    this.#lastLine = now
    const line = this.#line(done, tokens, (now - this.#started) / 1000)
    if (!this.terminal) process.stderr.write(`${line}\n`)
    else {
      process.stderr.write(`\r\x1b[K${line.slice(0, (process.stderr.columns || 80) - 1)}`)
      if (last) process.stderr.write('\n')
    }
  }

  #line(done: number, tokens: number | undefined, seconds: number): string {
    const total = this.#total
    const count = {
      layers: `layer ${done} of ${total}`,
      tokens: `${done} of ${total} tokens`,
      characters: `${quantity(done)} of ${quantity(total)} characters`,
      bytes: `${bytes(done)} of ${bytes(total)}`,
      tensors: `${done} of ${total} tensors`,
      turns: `turn ${done} of ${total}`,
    }
    const parts = [`${this.#phase}: ${count[this.#unit]}`]
    if (this.terminal) {
      const filled = Math.round((BAR_WIDTH * done) / this.#total)
      parts.unshift(`${'█'.repeat(filled)}${'░'.repeat(BAR_WIDTH - filled)}`)
    }
    if (done > 0) {
      const passed = this.#unit === 'tokens' ? done : ((tokens ?? 0) * done) / this.#total // tokens through the whole model
      if (this.#unit === 'bytes') parts.push(`${bytes(done / seconds)}/s`)
      else if (this.#unit === 'layers' || this.#unit === 'tokens')
        parts.push(`${Math.round(passed / seconds)} tokens/s`)
      parts.push(
        done < this.#total ? `${duration((seconds / done) * (this.#total - done))} left` : `took ${duration(seconds)}`,
      )
    }
    return parts.join('  ')
  }
}
