/**
 * Which of two live processes with one identity key keeps it. That both live is proved by a handshake between them, as
 * its keys are made on the spot: no restart, no backup that was played back and no old record can look like it.
 *
 * The key is its on whom pods depend: a router whose pods were there when it started is no fresh copy, however late it
 * started. Of two with pods, or two without, the one that has run for longest keeps it: so a node that was moved to another
 * machine on purpose keeps its name when somebody switches the old machine on again.
 */
import { compareBytes } from './base/bytes.ts'
import { formatIp } from './base/ip.ts'
import type { Place } from './endpoint.ts'
import type { PeerRecord } from './record.ts'

/** What a process says of itself when it proves who it is. */
export interface Tenure {
  /** Pods had addresses of it when it started. */
  readonly hadPods: boolean
  /** Wall time in milliseconds, of its start. */
  readonly startedAt: number
  /** Random, made at start: no two processes have the same. */
  readonly instance: Uint8Array
}

/** Whether `a` keeps the identity when `b` has it too. A total order: of any number of processes, one keeps it. */
export function isElder(a: Tenure, b: Tenure): boolean {
  return (Number(b.hadPods) - Number(a.hadPods) || a.startedAt - b.startedAt || compareBytes(a.instance, b.instance)) < 0
}

/** Where a record with our name says that its owner is, as far as that is not here: whoever lives there can prove who it is. */
export function elsewhere({ addresses, port }: PeerRecord, here: Pick<PeerRecord, 'addresses' | 'port'>): readonly Place[] {
  const others = port === here.port ? addresses.filter((address) => !here.addresses.includes(address)) : addresses
  return others.map((address) => ({ host: formatIp(address), port }))
}
