/** Errors and answers as a container runtime wants them: a JSON object on stdout and an exit code. */
import type { CniVersion } from './versions.ts'

/**
 * The codes that Weft answers. Below 100 they are the specification's (8 is the reference code's);
 * 100 and up are ours. Code 3, "unknown container", is left out on purpose: it tells the runtime that
 * there is nothing to clean up, so after an ADD that failed half-way no DEL would follow.
 */
export const CniCode = {
  incompatibleVersion: 1,
  environment: 4,
  io: 5,
  decode: 6,
  config: 7,
  netns: 8,
  tryAgain: 11,
  unavailable: 50,
  limited: 51,
  kernel: 100,
  checkFailed: 101,
  internal: 999,
} as const

export type CniCode = (typeof CniCode)[keyof typeof CniCode]

/** Why an operation failed, for the runtime and for the person who reads its log. */
export interface CniFault {
  readonly code: CniCode
  /** One line; names what was wrong. */
  readonly msg: string
  /** More of it: the value at fault, or what to do. */
  readonly details?: string | undefined
}

/** What the executable prints and returns. */
export interface CniReply {
  readonly exitCode: 0 | 1
  /** Empty, or one JSON document and a line feed. */
  readonly stdout: string
}

/** Of operations that answer nothing: DEL, CHECK, GC and STATUS. */
export const SILENT_REPLY: CniReply = { exitCode: 0, stdout: '' }

export function jsonReply(document: unknown): CniReply {
  return { exitCode: 0, stdout: `${JSON.stringify(document)}\n` }
}

/** Errors go to stdout too: every runtime reads them there, whatever the specification's overview says. */
export function errorReply(fault: CniFault, version: CniVersion): CniReply {
  const { code, msg, details } = fault
  return { exitCode: 1, stdout: `${JSON.stringify({ cniVersion: version, code, msg, details })}\n` }
}
