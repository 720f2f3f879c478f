/** What a lab and its parts are called, and which underlay address each host has. Names are derived, never remembered. */
import { type Cidr, type Ipv4, ipv4, parseCidr } from '../../mesh/base/address.ts'
import type { Brand } from '../../mesh/base/brand.ts'
import { WeftError } from '../../mesh/base/errors.ts'

/** 1 to 12 of a-z and 0-9. No dash: it ends the lab's name in the names of namespaces. */
export type LabName = Brand<string, 'LabName'>

/** a, b, … z, aa, ab, … */
export type HostName = Brand<string, 'HostName'>

/** 1 to 12 of a-z and 0-9, a letter first; never the name of a host of the lab. */
export type PodName = Brand<string, 'PodName'>

/** More routers than this do not fit into the memory of one ordinary machine. */
export const HOSTS_MAX = 64
/** More pods on one host than a kubelet takes (110 by default, 250 in practice) show nothing new. */
export const PODS_PER_HOST_MAX = 250

/** The namespace with the switch, in the place of a host's or pod's name. */
const SWITCH = 'net'

/** `l2`: all hosts on one switch. `routed`: each host has a subnet of its own, and a router between them. */
export const UNDERLAYS = ['l2', 'routed'] as const
export type UnderlayKind = (typeof UNDERLAYS)[number]

/** From the block that is set apart for benchmarks of network devices (RFC 2544): nobody's real network. */
const UNDERLAY: Cidr = parseCidr('198.18.0.0/16')

/** Of the subnet of each host, where each has its own. */
const SUBNET_LENGTH = 24
const SUBNET_ADDRESSES = 2 ** (32 - SUBNET_LENGTH)
/** The router's place in each subnet: the last address but the broadcast. */
const GATEWAY_PLACE = SUBNET_ADDRESSES - 2

const LETTERS = 26
const LAB_NAME = /^[a-z0-9]{1,12}$/
const HOST_NAME = /^[a-z]{1,2}$/
const POD_NAME = /^[a-z][a-z0-9]{0,11}$/

export function isLabName(text: string): text is LabName {
  return LAB_NAME.test(text)
}

export function isHostName(text: string): text is HostName {
  return HOST_NAME.test(text)
}

export function isPodName(text: string): text is PodName {
  return POD_NAME.test(text) && text !== SWITCH
}

/** @throws {WeftError} USAGE when `text` cannot be the name of a lab. */
export function parseLabName(text: string): LabName {
  if (isLabName(text)) return text
  throw new WeftError('USAGE', `not the name of a lab: ${JSON.stringify(text)}`, { hint: 'take 1 to 12 of a-z and 0-9' })
}

/** @throws {WeftError} USAGE when `text` cannot be the name of a pod. */
export function parsePodName(text: string): PodName {
  if (isPodName(text)) return text
  throw new WeftError('USAGE', `not the name of a pod: ${JSON.stringify(text)}`, {
    hint: `take 1 to 12 of a-z and 0-9, a letter first, and not "${SWITCH}"`,
  })
}

/** @param index from 0. */
export function hostName(index: number): HostName {
  const last = String.fromCharCode(97 + (index % LETTERS))
  return (index < LETTERS ? last : hostName(Math.floor(index / LETTERS) - 1) + last) as HostName
}

/** @param index from 0. */
export function hostAddress(index: number, underlay: UnderlayKind = 'l2'): Ipv4 {
  return ipv4(UNDERLAY.base + (underlay === 'l2' ? index + 1 : (index + 1) * SUBNET_ADDRESSES + 1))
}

/** Of the network that a host sees as its own segment. */
export function hostPrefixLength(underlay: UnderlayKind): number {
  return underlay === 'l2' ? UNDERLAY.length : SUBNET_LENGTH
}

/** Of a host of this address; a routed underlay only. */
export function subnetAround(address: Ipv4): Cidr {
  return { base: ipv4(address - (address % SUBNET_ADDRESSES)), length: SUBNET_LENGTH }
}

/** The router in the subnet of a host of this address. */
export function gatewayOf(address: Ipv4): Ipv4 {
  return ipv4(subnetAround(address).base + GATEWAY_PLACE)
}

/** @param number from 1, as people count. */
export function podName(host: HostName, number: number): PodName {
  return `${host}${number}` as PodName
}

/** The first of a1, a2, … that nobody has. */
export function freePodName(host: HostName, taken: ReadonlySet<string>): PodName {
  for (let number = 1; ; number++) {
    const name = podName(host, number)
    if (!taken.has(name)) return name
  }
}

/** The prefix of the names of all namespaces of a lab, and of no other lab. */
export function namespacePrefix(lab: LabName): string {
  return `weft-${lab}-`
}

export function namespaceOf(lab: LabName, member: HostName | PodName): string {
  return namespacePrefix(lab) + member
}

export function switchNamespace(lab: LabName): string {
  return namespacePrefix(lab) + SWITCH
}
