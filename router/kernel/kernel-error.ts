/** What the kernel answers when it refuses, and how a person is told. */
import { constants } from 'node:os'
import { WeftError } from '../../mesh/base/errors.ts'
import type { SystemError } from './native.ts'

export interface KernelError {
  /** The errno's name: `EEXIST`, `ENODEV`, … */
  readonly code: string
  readonly errno: number
  /** What was attempted, in iproute2's words: `ip route add 10.32.0.0/16 via …`. */
  readonly operation: string
  /** The kernel's own sentence, or ours when the kernel was not reached. */
  readonly detail: string | undefined
}

/** Of two names for one number the kernel's documentation uses these. */
const PREFERRED = ['EAGAIN', 'EOPNOTSUPP'] as const

const NAMES: ReadonlyMap<number, string> = new Map([
  ...Object.entries(constants.errno).map(([name, number]) => [number, name] as const),
  ...PREFERRED.map((name) => [constants.errno[name], name] as const),
])

const HINTS: Readonly<Record<string, string>> = {
  EPERM: 'the router needs CAP_NET_ADMIN',
  EACCES: 'the router needs CAP_NET_ADMIN',
  EOPNOTSUPP: 'this kernel lacks it: load the module, or use a kernel built with it',
  EAFNOSUPPORT: 'this kernel lacks it: load the module, or use a kernel built with it',
  ENOMEM: 'this machine is out of memory',
  EMFILE: 'raise the limit of open files (LimitNOFILE)',
}

export function kernelError(operation: string, errno: number, detail?: string): KernelError {
  return { code: NAMES.get(errno) ?? `errno ${errno}`, errno, operation, detail }
}

/** An error that the native module threw; anything else is thrown again, as it is a bug. */
export function systemKernelError(operation: string, error: unknown): KernelError {
  if (!isSystemError(error)) throw error
  return { code: error.code, errno: error.errno, operation, detail: error.message }
}

/** `ip link set weft-vx up: Network is down (ENETDOWN)`. */
export function describeKernelError({ code, operation, detail }: KernelError): string {
  return detail === undefined ? `${operation}: ${code}` : `${operation}: ${detail} (${code})`
}

/** @param hint what the person can do about it, when more is known than the errno says. */
export function toWeftError(error: KernelError, hint?: string): WeftError {
  const advice = hint ?? HINTS[error.code]
  return new WeftError('KERNEL', describeKernelError(error), advice === undefined ? {} : { hint: advice })
}

function isSystemError(error: unknown): error is SystemError {
  return error instanceof Error && 'errno' in error && 'code' in error && 'syscall' in error
}
