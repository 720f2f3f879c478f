/** Numbers that several rtnetlink objects share (linux/rtnetlink.h, linux/socket.h). */

export const Family = { unspecified: 0, inet: 2, bridge: 7, inet6: 10 } as const

/** Each object has four message types in a row: new, delete, get, set. */
export const RtmType = {
  newLink: 16,
  deleteLink: 17,
  getLink: 18,
  setLink: 19,
  newAddress: 20,
  deleteAddress: 21,
  getAddress: 22,
  newRoute: 24,
  deleteRoute: 25,
  getRoute: 26,
  newNeighbour: 28,
  deleteNeighbour: 29,
  getNeighbour: 30,
  newRule: 32,
  deleteRule: 33,
  getRule: 34,
} as const

/** How far a destination or an address reaches; the words are iproute2's. */
export type Scope = 'global' | 'site' | 'link' | 'host'

const SCOPES: readonly (readonly [Scope, number])[] = [
  ['global', 0],
  ['site', 200],
  ['link', 253],
  ['host', 254],
]

/** RT_SCOPE_NOWHERE: in a request to delete, any scope. */
const SCOPE_ANY = 255

export function scopeNumber(scope: Scope | undefined): number {
  return SCOPES.find(([name]) => name === scope)?.[1] ?? SCOPE_ANY
}

export function scopeOf(number: number): Scope | undefined {
  return SCOPES.find(([, value]) => value === number)?.[0]
}
