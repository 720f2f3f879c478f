/**
 * The devices in the namespace between the hosts, by name. A host's cable ends in a switch: one for all hosts, or, where
 * each has its own subnet, one for each, on which the router has its address.
 *
 *   cable whole:     eth0 ═══ a ─┤ switch
 *   cable impaired:  eth0 ═══ a ─(middlebox)─ a-mid ═══ a-box ─┤ switch
 *
 * While it is impaired `a` and `a-mid` are ports of `drain`, a bridge that is down and drops every frame, after the
 * middlebox has seen it. So the kernel handles none of them beside it, and the host's cable never loses its carrier.
 */
import type { HostName, UnderlayKind } from './names.ts'

/** The host's end of its cable. */
export const HOST_DEVICE = 'eth0'

/** A bridge that stays down. */
export const DRAIN = 'drain'

export interface CableDevices {
  /** The other end of the host's cable. */
  readonly near: string
  /** The middlebox's other side, and the port behind that. */
  readonly mid: string
  readonly box: string
  /** What may be the host's port of a switch. */
  readonly ports: readonly string[]
}

export function cableDevices(host: HostName): CableDevices {
  const box = `${host}-box`
  return { near: host, mid: `${host}-mid`, box, ports: [host, box] }
}

export function switchOf(underlay: UnderlayKind, host: HostName): string {
  return underlay === 'l2' ? 'switch' : `switch-${host}`
}
