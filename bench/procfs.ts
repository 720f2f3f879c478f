/** What the kernel tells of a process in /proc (proc(5)), read from its text. */
import { WeftError } from '../mesh/base/errors.ts'

const KIB = 1_024
/** In /proc/PID/net/dev, after the name: received bytes, and eight columns later sent ones. */
const RECEIVED_FIELD = 0
const SENT_FIELD = 8
/** In /proc/PID/stat, behind the name: utime and stime. */
const USER_FIELD = 11
const SYSTEM_FIELD = 12
/** USER_HZ, which is 100 on every Linux of today (proc(5)). */
export const TICKS_PER_SECOND = 100

/** @param text of /proc/PID/status. Megabytes that are held, shared pages of the Node binary included. @throws {WeftError} INPUT when it does not say. */
export function residentMegabytes(text: string): number {
  const kib = /VmRSS:\s+(\d+) kB/.exec(text)?.[1]
  if (kib === undefined) throw new WeftError('INPUT', 'no VmRSS in the status of the process')
  return (Number(kib) * KIB) / 1e6
}

/** @param text of /proc/PID/stat. Processor time that it has spent so far, its own and the kernel's for it. @throws {WeftError} INPUT when it does not say. */
export function processorSeconds(text: string): number {
  // The name, which may hold anything, ends with the last parenthesis.
  const fields = text
    .slice(text.lastIndexOf(')') + 1)
    .trim()
    .split(' ')
    .map(Number)
  const [user, system] = [fields[USER_FIELD], fields[SYSTEM_FIELD]]
  if (user === undefined || system === undefined) throw new WeftError('INPUT', 'no processor time in the figures of the process')
  return (user + system) / TICKS_PER_SECOND
}

/** @param text of /proc/PID/net/dev. Bytes received and sent so far, headers of all layers included. @throws {WeftError} INPUT when there is no such device. */
export function deviceBytes(text: string, device: string): number {
  const line = text.split('\n').find((candidate) => candidate.trimStart().startsWith(`${device}:`))
  const fields = line
    ?.slice(line.indexOf(':') + 1)
    .trim()
    .split(/\s+/)
    .map(Number)
  const [received, sent] = [fields?.[RECEIVED_FIELD], fields?.[SENT_FIELD]]
  if (received === undefined || sent === undefined) throw new WeftError('INPUT', `no counters of ${device}`)
  return received + sent
}
