// Prototypes and enumerations of C headers, as far as bindings are compared with them.

const withoutComments = (text: string): string => text.replace(/\/\*[\s\S]*?\*\//g, ' ').replace(/\/\/.*/g, '')

/** Result and arguments of a function: `int` for integers, enumerations and statuses, `size_t`, `*` and `**` for pointers and handles. */
export function prototypeOf(text: string, name: string): string[] {
  const found = RegExp(`([^;{}#]*)\\b${name}\\s*\\(([^)]*)\\)\\s*;`).exec(withoutComments(text))
  if (!found) throw new Error(`no prototype of ${name}`)
  const result = found[1].replace(/\b(extern|__\w+__|[A-Z]{4,}API)\b/g, ' ').trim()
  const given = found[2].trim()
  return [
    kindOf(`${result.split('\n').at(-1)} result`),
    ...(given === 'void' || given === '' ? [] : given.split(',').map(kindOf)),
  ]
}

/** @param declared a type and a name */
function kindOf(declared: string): string {
  const [, base, stars] = /^([\w\s]*?)\b([\s*]*)\w+(?:\[\])?$/.exec(
    declared.replace(/\b(const|enum|struct)\b/g, ' ').trim(),
  )!
  const pointers = stars.replace(/\s/g, '') + (/Handle_t$/.test(base.trim()) ? '*' : '')
  if (pointers) return pointers
  if (['size_t', 'void'].includes(base.trim())) return base.trim()
  if (/^(int|cu\w+_t|cudaMemcpyKind|libraryPropertyType|Ort\w+Type|OrtLoggingLevel|ONNX\w+Type)$/.test(base.trim()))
    return 'int'
  throw new Error(`an unknown type: ${declared}`)
}

/** Values of all enumerators whose value is a number, or follows from its place. */
export function enumsOf(text: string): Map<string, number> {
  const values = new Map<string, number>()
  for (const [, body] of withoutComments(text).matchAll(/\benum\b[^{};]*\{([^}]*)\}/g)) {
    let next = 0
    for (const entry of body.split(',')) {
      const [, name, value] = /^\s*(\w+)(?:\s*=\s*(.*?))?\s*$/.exec(entry) ?? []
      if (!name) continue
      next = value === undefined ? next : Number(value)
      values.set(name, next++)
    }
  }
  return values
}
