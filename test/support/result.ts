/** For tests of functions that return a Result. */
import type { Result } from '../../mesh/base/result.ts'

/** The value; throws the error, whole, when there is none. */
export function must<T, E>(result: Result<T, E>): T {
  if (!result.ok) throw new Error(`expected a value, got the error ${JSON.stringify(result.error)}`)
  return result.value
}

/** The error; throws when there is none. */
export function mustFail<T, E>(result: Result<T, E>): E {
  if (result.ok) throw new Error(`expected an error, got the value ${JSON.stringify(result.value)}`)
  return result.error
}
