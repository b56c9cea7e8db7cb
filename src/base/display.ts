// Numbers and tables as text.

export const percent = (part: number): string => `${(100 * part).toFixed(1)} %`

/** How much smaller `after` is; or how much larger, as a dequantised file is. */
export const cut = ({ before, after }: { readonly before: number; readonly after: number }): string =>
  after > before ? `${(after / before).toFixed(2)} × as large` : percent(1 - after / before)

/** How much higher a loss in nats a token makes the perplexity: `+8 %`, from a factor of two on `2.3 ×`. */
export function perplexityChange(nats: number): string {
  const more = Math.exp(nats) - 1
  if (more >= 1) return `${(1 + more).toFixed(more < 9 ? 1 : 0)} ×`
  return `${more < 0 ? '−' : '+'}${(100 * Math.abs(more)).toFixed(Math.abs(more) < 0.1 ? 1 : 0)} %`
}

/** 12345678 → "12.3 M". */
export function count(n: number): string {
  if (n >= 1e9) return `${(n / 1e9).toFixed(2)} B`
  if (n >= 1e6) return `${(n / 1e6).toFixed(1)} M`
  return n >= 1e4 ? `${(n / 1e3).toFixed(1)} k` : String(Math.round(n))
}

/** Bytes in decimal units. */
export function bytes(n: number): string {
  if (n >= 1e9) return `${(n / 1e9).toFixed(2)} GB`
  return n >= 1e6 ? `${(n / 1e6).toFixed(1)} MB` : `${(n / 1e3).toFixed(1)} kB`
}

export function duration(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 100) return `${Math.round(seconds)} s`
  if (seconds < 6000) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`
  return `${(seconds / 3600).toFixed(1)} h`
}

/** The first of many names, for messages. */
export const firstOf = (names: readonly string[], most = 20): string =>
  names.slice(0, most).join(', ') + (names.length > most ? ', …' : '')

/** 288 → "288", 96 and 352 → "96–352". */
export function span(values: readonly number[]): string {
  const [low, high] = [Math.min(...values), Math.max(...values)]
  return low === high ? String(low) : `${low}–${high}`
}

/** What layers keep, in a sentence for each kind of unit. */
export function widthsText({ before, after }: { before: DisplayedWidths; after: readonly DisplayedWidths[] }): string {
  const neurons = `FFN neurons per layer: ${span(after.map(w => w.ffn))} of ${before.ffn}.`
  if (after.some(w => w.experts !== undefined))
    return `Experts per layer: ${span(after.map(w => w.experts ?? 0))} of ${before.experts}.`
  if (after.some(w => w.kvHeads !== undefined))
    return `${neurons} KV heads per layer: ${span(after.map(w => w.kvHeads ?? before.kvHeads!))} of ${before.kvHeads}.`
  return `${neurons} Value channels per KV head: ${span(after.map(w => w.value))} of ${before.value}.`
}

interface DisplayedWidths {
  readonly ffn: number
  readonly value: number
  readonly kvHeads?: number
  readonly experts?: number
}

/** Aligned columns: the first to the left, the others to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0].map((_, c) => Math.max(...rows.map(row => row[c].length)))
  return rows
    .map(row =>
      row
        .map((cell, c) => (c === 0 ? cell.padEnd(widths[c]) : cell.padStart(widths[c])))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** Lines of at most so many columns, broken at spaces. A word that is longer has a line of its own. */
export const wrap = (text: string, columns: number): string =>
  text.replace(new RegExp(`(.{1,${columns}})(?: *\n| +|$)`, 'g'), '$1\n').trimEnd()

/** Of each path the shortest end that no other has: `test.txt`; where several files are called that, `a/test.txt`. */
export function shortNames(paths: readonly string[]): string[] {
  const parts = paths.map(path => path.replace(/[/\\]+$/, '').split(/[/\\]/))
  const end = (path: readonly string[], n: number) => path.slice(-n).join('/')
  return parts.map(path => {
    const others = parts.filter(other => end(other, other.length) !== end(path, path.length))
    let n = 1
    while (n < path.length && others.some(other => end(other, n) === end(path, n))) n++
    return end(path, n)
  })
}

/** Names in a file may hold line breaks, or codes that steer the terminal. */
export const oneLine = (text: string): string => text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ')

/** Whether a path names a GGUF file, and not a folder. */
export const isGgufFile = (path: string): boolean => path.toLowerCase().endsWith('.gguf')

/** The last part of a path. */
export const baseName = (path: string): string =>
  path
    .replace(/[/\\]+$/, '')
    .split(/[/\\]/)
    .at(-1)!

/** The name that somebody meant who wrote that, where one is near. */
export function nearest(written: string, known: readonly string[]): string | undefined {
  const wanted = written.toLowerCase()
  return known
    .map(name => ({ name, distance: name.startsWith(wanted) ? 0 : editDistance(name.toLowerCase(), wanted) }))
    .filter(({ distance }) => wanted !== '' && distance <= Math.min(2, Math.ceil(wanted.length / 3)))
    .sort((a, b) => a.distance - b.distance)[0]?.name
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)))
    row = next
  }
  return row[b.length]
}
