/** Brings routes, neighbours and addresses to what is wanted: lists them, takes the difference, applies it. */
import { diff } from '../../mesh/base/diff.ts'
import { isIpv4 } from '../../mesh/base/ip.ts'
import { formatPrefix } from '../../mesh/base/prefix.ts'
import { ok, type Result } from '../../mesh/base/result.ts'
import { addAddress, addressKey, deleteAddress, listAddresses } from '../kernel/addr.ts'
import type { Address } from '../kernel/codec/addr.ts'
import type { FdbEntry, Neighbour } from '../kernel/codec/neigh.ts'
import type { IpFamily } from '../kernel/codec/numbers.ts'
import type { Route } from '../kernel/codec/route.ts'
import type { KernelError } from '../kernel/kernel-error.ts'
import { appendFdb, deleteFdb, deleteNeighbour, fdbKey, listFdb, listNeighbours, neighbourKey, replaceNeighbour } from '../kernel/neigh.ts'
import type { Netlink } from '../kernel/netlink.ts'
import { completeRoute, deleteRoute, listRoutes, MAIN_TABLE, replaceRoute, routeKey } from '../kernel/route.ts'
import { ROUTE_PROTOCOL } from './names.ts'
import type { Wants } from './wants.ts'

export interface Reconciled {
  /** Keys of all that is wanted, and of what of it was missing and is there now. */
  readonly wanted: ReadonlySet<string>
  readonly added: readonly string[]
  readonly removed: number
  /** Wanted routes that the kernel had or has taken. */
  readonly routesPresent: number
  /** What the kernel refused; the rest was done all the same. */
  readonly errors: readonly KernelError[]
}

interface Step {
  readonly key: string
  run(): Promise<Result<void, KernelError>>
}

/** What the kernel has, of us and of others. */
export interface Listed {
  readonly addresses: readonly Address[]
  readonly routes: readonly Route[]
  readonly neighbours: readonly Neighbour[]
  /** Of the VXLAN device. */
  readonly forwarding: readonly FdbEntry[]
}

export async function listAll(netlink: Netlink, vxlan: number): Promise<Result<Listed, KernelError>> {
  const [addresses, routes, neighbours, forwarding] = await Promise.all([
    ofBoth((family) => listAddresses(netlink, undefined, family)),
    ofBoth((family) => listRoutes(netlink, { family, protocol: ROUTE_PROTOCOL, table: MAIN_TABLE })),
    ofBoth((family) => listNeighbours(netlink, undefined, family)),
    listFdb(netlink, vxlan),
  ])
  if (!addresses.ok) return addresses
  if (!routes.ok) return routes
  if (!neighbours.ok) return neighbours
  if (!forwarding.ok) return forwarding
  return ok({ addresses: addresses.value, routes: routes.value, neighbours: neighbours.value, forwarding: forwarding.value })
}

/**
 * What is listed and not wanted is removed. So `wants` must be worked out after the list was made: what has come in between is
 * in neither, and what was wanted then is wanted still.
 * @param links whose addresses and neighbours are ours to decide: the VXLAN device's and those of pods; names by index.
 */
export async function reconcile(netlink: Netlink, listed: Listed, wants: Wants, links: ReadonlyMap<number, string>): Promise<Reconciled> {
  const onOurs = ({ link }: { readonly link: number }): boolean => links.has(link)
  const removals: Step[] = []
  // Addresses come first: routes name them as their source. Neighbours next: routes need them to be of use.
  const addressSteps = addressChanges(
    netlink,
    wants.addresses,
    listed.addresses.filter((address) => onOurs(address) && isGlobalScope(address)),
    removals,
  )
  const done = await settle(addressSteps)
  const neighbourSteps = neighbourChanges(
    netlink,
    wants.neighbours,
    listed.neighbours.filter((neighbour) => onOurs(neighbour) && neighbour.permanent === true),
    removals,
  )
  const routeSteps = routeChanges(netlink, wants.routes, listed.routes, removals)
  const forwardingSteps = await forwardingChanges(netlink, wants.forwarding, listed.forwarding)
  const [forwarded, neighboured, routed] = [await settle(forwardingSteps), await settle(neighbourSteps), await settle(routeSteps)]
  const removed = await settle(removals)
  return {
    wanted: wantedKeys(wants),
    added: [...done.succeeded, ...forwarded.succeeded, ...neighboured.succeeded, ...routed.succeeded],
    removed: removed.succeeded.length,
    routesPresent: wants.routes.length - routeSteps.length + routed.succeeded.length,
    errors: [...done.errors, ...forwarded.errors, ...neighboured.errors, ...routed.errors, ...removed.errors],
  }
}

/** IPv6 that was wanted once and is not any more goes like all else, so it is looked for always. */
async function ofBoth<T>(
  list: (family: IpFamily) => Promise<Result<readonly T[], KernelError>>,
): Promise<Result<readonly T[], KernelError>> {
  const [inet, inet6] = await Promise.all([list('inet'), list('inet6')])
  if (!inet.ok) return inet
  return inet6.ok ? ok([...inet.value, ...inet6.value]) : inet6
}

/** Link-local addresses of IPv6 are made by the kernel, which we have told not to on links that we made ourselves. */
function isGlobalScope({ address, scope }: Address): boolean {
  return isIpv4(address) || scope === 'global'
}

function addressChanges(netlink: Netlink, want: readonly Address[], have: readonly Address[], removals: Step[]): readonly Step[] {
  const { add, remove } = diff(want, have, addressKey)
  for (const address of remove) removals.push({ key: addressKey(address), run: () => deleteAddress(netlink, address) })
  return add.map((address) => ({ key: ofAddress(address), run: () => addAddress(netlink, address) }))
}

function neighbourChanges(netlink: Netlink, want: readonly Neighbour[], have: readonly Neighbour[], removals: Step[]): readonly Step[] {
  const { add, remove } = diff(want, have, neighbourKey)
  const replaced = new Set(add.map(placeOfNeighbour))
  for (const neighbour of remove) {
    if (!replaced.has(placeOfNeighbour(neighbour)))
      removals.push({ key: neighbourKey(neighbour), run: () => deleteNeighbour(netlink, neighbour) })
  }
  return add.map((neighbour) => ({ key: ofNeighbour(neighbour), run: () => replaceNeighbour(netlink, neighbour) }))
}

/** One address has one place: what is wrong goes before what is right is added. */
async function forwardingChanges(netlink: Netlink, want: readonly FdbEntry[], have: readonly FdbEntry[]): Promise<readonly Step[]> {
  const { add, remove } = diff(want, have, fdbKey)
  await settle(remove.map((entry) => ({ key: ofForwarding(entry), run: () => deleteFdb(netlink, entry) })))
  return add.map((entry) => ({ key: ofForwarding(entry), run: () => appendFdb(netlink, entry) }))
}

function routeChanges(netlink: Netlink, want: readonly Route[], have: readonly Route[], removals: Step[]): readonly Step[] {
  const { add, remove } = diff(want, have, routeKey)
  const replaced = new Set(add.map(placeOfRoute))
  for (const route of remove) {
    if (!replaced.has(placeOfRoute(route))) removals.push({ key: routeKey(route), run: () => deleteRoute(netlink, route) })
  }
  return add.map((route) => ({ key: ofRoute(route), run: () => replaceRoute(netlink, route) }))
}

const ofAddress = (address: Address): string => `address ${addressKey(address)}`
const ofNeighbour = (neighbour: Neighbour): string => `neighbour ${neighbourKey(neighbour)}`
const ofForwarding = (entry: FdbEntry): string => `forwarding ${fdbKey(entry)}`
const ofRoute = (route: Route): string => `route ${routeKey(route)}`

function wantedKeys({ addresses, neighbours, forwarding, routes }: Wants): ReadonlySet<string> {
  return new Set([...addresses.map(ofAddress), ...neighbours.map(ofNeighbour), ...forwarding.map(ofForwarding), ...routes.map(ofRoute)])
}

/** What `replace` takes the place of. */
function placeOfRoute(route: Route): string {
  return `${formatPrefix(route.destination)} ${completeRoute(route).priority}`
}

function placeOfNeighbour({ link, address }: Neighbour): string {
  return `${link} ${address}`
}

/** All in flight at once; netlink bounds how many really are. */
async function settle(steps: readonly Step[]): Promise<{ readonly succeeded: readonly string[]; readonly errors: readonly KernelError[] }> {
  const results = await Promise.all(steps.map(({ run }) => run()))
  return {
    succeeded: steps.filter((_, index) => results[index]?.ok).map(({ key }) => key),
    errors: results.flatMap((result) => (result.ok ? [] : [result.error])),
  }
}
