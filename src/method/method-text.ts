// Methods as texts: `best:alpha=0.25` on the command line and in results.
import { didYouMean, UsageError } from '../base/errors.ts'
import { compose, METHOD_NAMES, METHOD_OPTIONS, METHODS, type Method, type MethodName, optionName } from './method.ts'

/** The method that a text such as `best:alpha=0.25` names, or the method itself. @throws UsageError */
export function methodOf(method: Method | string): Method {
  if (typeof method !== 'string' && Object.hasOwn(METHODS, method.name)) return method
  const [name, ...options] = `${method}`.split(':')
  if (!Object.hasOwn(METHODS, name))
    throw new UsageError(
      `method "${name}" is unknown; there is: ${METHOD_NAMES.join(', ')}.` +
        (name === 'fasp' ? ' It is plain now.' : didYouMean(name, METHOD_NAMES)),
    )
  const asked = options.map(option => {
    const [written, value] = option.split(/=(.*)/s)
    return [written.replace(/-(.)/g, (_, letter) => letter.toUpperCase()), typed(written, value)]
  })
  return compose(name as MethodName, Object.fromEntries(asked))
}

/** The value of a written option. `compose` refuses unknown options. */
function typed(written: string, value = ''): string | number | boolean {
  const type = Object.entries(METHOD_OPTIONS).find(([option]) => optionName(option) === written)?.[1].type
  if (type === undefined || type === 'text') return value
  if (type === 'flag' ? value === '' : value.trim() !== '' && Number.isFinite(Number(value)))
    return type === 'flag' || Number(value)
  throw new UsageError(`${written} is "${value}"; it must be ${type === 'flag' ? 'without a value' : 'a number'}.`)
}
