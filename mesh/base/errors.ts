/** The one error class of Weft, with a closed list of codes and a hint for the person who reads it. */

/**
 * Why something failed, for programs:
 * - `USAGE`: the command line or configuration is wrong
 * - `INPUT`: a file, a peer or a client sent something malformed
 * - `KERNEL`: the kernel refused
 * - `STATE`: files of this node are damaged, locked or of another node
 * - `UNREACHABLE`: another process or peer does not answer
 * - `EXHAUSTED`: no address is free
 * - `CONFLICT`: something exists already, or exists differently
 * - `CANCELLED`: whoever asked went away, or we are shutting down
 * - `MISSING`: a tool or file that is needed is not there
 */
export type WeftErrorCode = 'USAGE' | 'INPUT' | 'KERNEL' | 'STATE' | 'UNREACHABLE' | 'EXHAUSTED' | 'CONFLICT' | 'CANCELLED' | 'MISSING'

interface WeftErrorOptions {
  readonly cause?: unknown
  /** What the person can do about it: one line, no full stop. */
  readonly hint?: string
}

export class WeftError extends Error {
  override readonly name = 'WeftError'
  readonly code: WeftErrorCode
  readonly hint: string | undefined

  constructor(code: WeftErrorCode, message: string, options: WeftErrorOptions = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : {})
    this.code = code
    this.hint = options.hint
  }
}

/** The text of anything thrown, in one line, with its causes. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { message, cause } = error
  if (cause === undefined) return message
  const inner = describeError(cause)
  return message.includes(inner) ? message : `${message}: ${inner}`
}

/** The errno name of a system error (`ENOENT`, …), or undefined. */
export function errnoCode(error: unknown): string | undefined {
  if (!(error instanceof Error && 'code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}
