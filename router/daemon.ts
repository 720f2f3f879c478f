/** The router: builds every part in order, lets them know each other, and takes them down in reverse. */
import { flushCompileCache } from 'node:module'
import { networkInterfaces } from 'node:os'
import { attachmentKey } from '../ipam/attachment.ts'
import { Ipam } from '../ipam/ipam.ts'
import { type IpamInit, parseIpamInit } from '../ipam/seed.ts'
import { formatIpv4, type Ipv4 } from '../mesh/base/address.ts'
import { type Millis, type PeerName, seconds } from '../mesh/base/brand.ts'
import { type Clock, systemClock } from '../mesh/base/clock.ts'
import { WeftError } from '../mesh/base/errors.ts'
import { type Ip, isIpv4 } from '../mesh/base/ip.ts'
import type { Logger } from '../mesh/base/log.ts'
import { systemRandom } from '../mesh/base/random.ts'
import { loadCrypto } from '../mesh/crypto.ts'
import { formatTarget, parseTarget, type Target } from '../mesh/endpoint.ts'
import { Mesh } from '../mesh/mesh.ts'
import { netTransport } from '../mesh/transport-net.ts'
import { Accounts, settleAccounts } from './accounts.ts'
import { advertisedAddresses } from './addresses.ts'
import type { AccountPorts } from './api/accounts.ts'
import type { Snapshot } from './api/contract.ts'
import type { ApiPorts } from './api/handlers.ts'
import { ApiServer } from './api/server.ts'
import type { CliIo } from './cli/io.ts'
import { apiSocketPath, cniSocketPath, ipamDirectory, knownPeersPath, pendingDirectory } from './cli/paths.ts'
import { VERSION } from './cli/version.ts'
import { startCni } from './cni/start.ts'
import type { Config } from './config.ts'
import { Datapath } from './datapath/datapath.ts'
import { destinationsOf } from './datapath/destinations.ts'
import { findUnderlay, type PassInput } from './datapath/pass.ts'
import { attachedPods, Pods } from './datapath/pods.ts'
import type { Underlay } from './datapath/underlay.ts'
import { copied, type FormerName, giveUpName, loadName, type Renaming, removed } from './former-name.ts'
import { native } from './kernel/native.ts'
import { Netlink } from './kernel/netlink.ts'
import { KeyRotation } from './key-rotation.ts'
import { keepKnownPeers, readKnownPeers } from './known-peers.ts'
import { createLog } from './log.ts'
import { leaveCluster, logRetirement, removePeer } from './membership.ts'
import { loadSecrets } from './secrets.ts'
import { ipamReport, routerReport } from './snapshot.ts'
import { readAuthorities } from './tls.ts'

/** The attachment of the node itself: the address from which it talks to pods. */
const HOST_ATTACHMENT = attachmentKey('weft', 'host')
/** What compiled the sources and what joined the mesh has freed its memory by then: 4 MB that malloc would keep. */
const START_FORGOTTEN_AFTER: Millis = seconds(2)

/** Runs until `io.signal` aborts. What it made in the kernel stays: pods go on talking. */
export async function runRouter(config: Config, peers: readonly string[], io: CliIo): Promise<void> {
  const log = createLog(config.logLevel, config.nickname)
  const left = new AbortController()
  const ended = AbortSignal.any([io.signal, left.signal])
  const stop = (): void => left.abort(new Error('this node has left the cluster'))
  let targets: readonly Target[] | undefined = peers.map(targetOrThrow)
  while (targets !== undefined) targets = await runLife({ config, targets, log, stop }, ended)
}

interface Life {
  readonly config: Config
  readonly targets: readonly Target[]
  readonly log: Logger
  /** Ends it in good order. */
  stop(): void
}

/** Under one name: until the signal aborts, or another one has to be taken. Then all parts start anew; returns what they are to dial. */
async function runLife(life: Life, signal: AbortSignal): Promise<readonly Target[] | undefined> {
  const { config, log } = life
  const renaming = Promise.withResolvers<Renaming>()
  await using router = await startRouter(life, renaming.resolve)
  log.info({ peer: router.name, address: apiSocketPath(config.runDirectory) }, 'router started')
  // Node would keep what it has compiled only at a clean exit, which a router may never see.
  flushCompileCache()
  using _ = systemClock.after(START_FORGOTTEN_AFTER, () => native().trim())
  const given = await Promise.race([renaming.promise, untilAborted(signal)])
  if (given !== undefined) return await router.giveUpName(given)
  log.info({ reason: String(signal.reason) }, 'router stops')
  return undefined
}

interface Router extends AsyncDisposable {
  readonly name: PeerName
  /** The next start is under another name. Returns what is dialled at present. */
  giveUpName(renaming: Renaming): Promise<readonly Target[]>
}

/**
 * @param rename told when our name turns out to be another's, or to be retired.
 * @throws {WeftError} that says which part could not start, and why.
 */
async function startRouter({ config, targets, log, stop }: Life, rename: (renaming: Renaming) => void): Promise<Router> {
  await using starting = new AsyncDisposableStack()
  const clock = systemClock
  const crypto = await loadCrypto()
  const { identity, former } = await loadName(config.stateDirectory, crypto, log)
  const secrets = await loadSecrets(config, crypto)
  if (secrets.isOpen) log.warn({}, 'the cluster is open: anybody who reaches the port of the mesh may join it')
  const keys = starting.use(new KeyRotation({ ...secrets, crypto, clock, log }))
  const netlink = starting.use(Netlink.open({ clock }))
  const underlay = await underlayOrThrow(netlink, config)
  const peersFile = knownPeersPath(config.stateDirectory)
  const ipam = starting.use(await openIpam(config, { self: identity.name, former, clock, log }))
  const hadPods = await settlePods({ config, former, ipam, netlink, log })
  const mesh = starting.use(
    await Mesh.start({
      identity,
      hadPods,
      yields: (to) => rename(copied(to)),
      nickname: config.nickname,
      cluster: config.cluster,
      keyring: () => keys.keyring,
      listen: { host: '::', port: config.port },
      targets,
      known: await readKnownPeers(peersFile, log),
      transport: netTransport({ clock, log, authorities: await readAuthorities(config.tlsAuthorities) }),
      crypto,
      clock,
      random: systemRandom,
      log,
      addresses: addressesOf(underlay.address, config),
      mtuBytes: underlay.mtuBytes,
      zone: config.zone,
    }),
  )
  tellRemoval(ipam, rename, log)
  ipam.attach(mesh.register(ipam.part), () => mesh.peers().map(({ name }) => name))
  keys.attach(mesh)
  starting.use(keepKnownPeers(peersFile, mesh, { clock, log }))
  await serve({ config, former, isOpen: secrets.isOpen, keys, mesh, ipam, netlink, clock, log, stop }, starting)
  const running = starting.move()
  return {
    name: identity.name,
    async giveUpName({ reason, words }) {
      const pods = [...ipam.allocations().keys()].filter((key) => key !== HOST_ATTACHMENT)
      log.warn({ peer: identity.name, reason, count: pods.length }, `${words}, and takes a new name${lossWords(pods.length)}`)
      const lost = [...new Set([...(former?.pods ?? []), ...pods])]
      await giveUpName(config.stateDirectory, { name: identity.name, reason, at: new Date(clock.wallTime()), pods: lost }, crypto)
      return mesh.targets()
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

function openIpam(
  config: Config,
  { self, former, clock, log }: Pick<Parts, 'former' | 'clock' | 'log'> & { self: PeerName },
): Promise<Ipam> {
  const init = ipamInitOf(config, self, former)
  const directory = ipamDirectory(config.stateDirectory)
  return Ipam.open({ self, universe: config.universe, cluster: config.cluster, init, directory, clock, random: systemRandom, log })
}

/**
 * Makes the allocations those of the pods that exist.
 * @returns whether some of these are proof that our name is in use here. Pods that the journal does not know are none, unless it is damaged.
 */
async function settlePods({
  config,
  former,
  ipam,
  netlink,
  log,
}: Omit<Parts, 'isOpen' | 'keys' | 'mesh' | 'clock' | 'stop'>): Promise<boolean> {
  const known = await attachedPods(netlink, ipam)
  const view = { netlink, ipam, universe: config.universe, hostAttachment: HOST_ATTACHMENT }
  await settleAccounts(view, former?.pods ?? [], log)
  const ours = ipam.status().doubt === undefined ? known : await attachedPods(netlink, ipam)
  return ours.size > 0
}

function lossWords(pods: number): string {
  return pods === 0 ? '' : '; its pods lose their addresses, and have to be made anew'
}

/** Our own reset is followed by the end; but who starts again after one joins as a new peer. */
function tellRemoval({ members }: Ipam, rename: (renaming: Renaming) => void, log: Logger): void {
  const wasRetired = members.retiredBy !== undefined
  members.onRetired((retirement) => {
    logRetirement(log, members.self, retirement)
    if (wasRetired || retirement.by !== members.self) rename(removed(members.self, retirement.by))
  })
}

/** Who has taken a new name has met a cluster that has a ring. `self` would begin a second one. */
function ipamInitOf({ ipamInit }: Config, self: PeerName, former: FormerName | undefined): IpamInit {
  const init = parseIpamInit(ipamInit, self)
  return former === undefined ? init : { kind: 'await' }
}

function untilAborted(signal: AbortSignal): Promise<undefined> {
  if (signal.aborted) return Promise.resolve(undefined)
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(undefined), { once: true }))
}

interface Parts {
  readonly config: Config
  readonly former: FormerName | undefined
  /** The cluster has no secret. */
  readonly isOpen: boolean
  readonly keys: KeyRotation
  readonly mesh: Mesh
  readonly ipam: Ipam
  readonly netlink: Netlink
  readonly clock: Clock
  readonly log: Logger
  stop(): void
}

/** The data path, and those whom it serves. */
async function serve(parts: Parts, stack: AsyncDisposableStack): Promise<void> {
  const { config, former, isOpen, keys, mesh, ipam, netlink, clock, log } = parts
  const datapath = stack.use(
    await Datapath.start({
      netlink,
      clock,
      log,
      wants: () => wantsOf(parts),
      peers: () => mesh.peers().flatMap((record) => (record.name === mesh.name ? [] : record.addresses.filter(isIpv4))),
      onUnderlay: ({ address, mtuBytes }) => mesh.publish({ addresses: addressesOf(address, config), mtuBytes }),
    }),
  )
  stack.use(mesh.onChange(() => datapath.kick()))
  stack.use(ipam.onChange(() => datapath.kick()))
  stack.use(keepHostAddress(ipam, log))
  const waitingFor = (): readonly string[] => [
    ...ringAwaited(ipam),
    ...(ipam.members.retiredBy === undefined ? [] : ['a new name, as this one was removed from the cluster']),
    ...(datapath.settled ? [] : ['the kernel']),
    ...(ipam.ranges().length === 0 || datapath.hostAddress !== undefined ? [] : ['an address of its own']),
    ...troubles(ipam),
  ]
  const pods = new Pods({
    netlink,
    ipam,
    clock,
    mtuBytes: () => datapath.podMtuBytes,
    hostAddress: () => datapath.hostAddress,
    universe: () => datapath.universe,
    unavailable: () => (waitingFor().length === 0 ? undefined : `the router waits for ${waitingFor().join(', ')}`),
  })
  stack.use(
    await startCni({
      socketPath: cniSocketPath(config.runDirectory),
      pendingDirectory: pendingDirectory(config.stateDirectory),
      port: pods,
      clock,
      log,
    }),
  )
  const snapshot = (): Snapshot => ({
    ready: waitingFor().length === 0,
    waitingFor: waitingFor(),
    version: VERSION,
    router: routerReport(mesh, { keyring: keys.keyring, isOpen, former }),
    ipam: ipamReport(ipam, mesh, config.universe),
    datapath: datapath.report(),
  })
  const forget = (texts: readonly string[]): readonly string[] => forgetTargets(mesh, texts)
  const connect = (texts: readonly string[], replace: boolean): void => mesh.connect(texts.map(targetOrThrow), { replace })
  const resolveRings = (keep: 'ours' | 'theirs', ring: string | undefined): string => ipam.resolve(keep, ring)
  const accounts = accountsOf(parts, pods)
  const ports = { snapshot, connect, forget, resolveRings, ...keyPorts(keys), ...memberPorts(parts) }
  stack.use(await ApiServer.start({ path: apiSocketPath(config.runDirectory), ports, accounts, log }))
}

function memberPorts({ ipam, mesh, log, stop }: Parts): Pick<ApiPorts, 'removePeer' | 'reset' | 'stop'> {
  const ports = { members: ipam.members, peers: () => mesh.peers(), log }
  return {
    removePeer: (peer, leaveAbsent) => removePeer(ports, peer, leaveAbsent),
    reset: (force) => leaveCluster(ports, HOST_ATTACHMENT, force),
    stop,
  }
}

function ringAwaited(ipam: Ipam): readonly string[] {
  if (ipam.ranges().length > 0) return []
  const { waiting } = ipam.status()
  return [waiting === undefined ? 'a ring of address ranges' : `a ring of address ranges (${waiting})`]
}

/** Why no pod can get an address, although all else is there. */
function troubles(ipam: Ipam): readonly string[] {
  const { journalFault, doubt } = ipam.status()
  return [...(journalFault === undefined ? [] : [`its disk (${journalFault})`]), ...(doubt === undefined ? [] : [`other peers (${doubt})`])]
}

function accountsOf({ config, mesh, ipam, netlink }: Parts, { activity }: Pods): AccountPorts {
  const accounts = new Accounts({ netlink, ipam, mesh, activity, universe: config.universe, hostAttachment: HOST_ATTACHMENT })
  return {
    check: () => accounts.check(),
    collect: (dryRun) => accounts.collect(dryRun),
    recover: () => ({ without: ipam.upkeep.recover() }),
  }
}

function keyPorts(keys: KeyRotation): Pick<ApiPorts, 'keys' | 'rotateKeys'> {
  return { keys: () => keys.report(), rotateKeys: (leaveAbsent) => keys.rotate(leaveAbsent) }
}

function wantsOf({ config, mesh, ipam }: Parts): PassInput {
  return {
    self: mesh.name,
    universe: config.universe,
    advertise: config.advertise,
    mtuBytes: config.mtuBytes,
    ranges: ipam.ranges(),
    destinations: destinationsOf(mesh.peers(), (name) => mesh.livenessOf(name)),
    allocations: () => ipam.allocations(),
    hostAddress: ipam.lookup(HOST_ATTACHMENT),
  }
}

/** Asks for the node's own address as soon as there is a ring, and again after every change until there is one. */
function keepHostAddress(ipam: Ipam, log: Logger): Disposable {
  const stop = new AbortController()
  let asking = false
  const ask = async (): Promise<void> => {
    // A pod elsewhere has our address since two rings became one: it cannot change its address, and we can.
    if (ipam.conflicts().has(HOST_ATTACHMENT)) await ipam.free(HOST_ATTACHMENT)
    if (asking || stop.signal.aborted || ipam.lookup(HOST_ATTACHMENT) !== undefined || ipam.ranges().length === 0) return
    if (ipam.members.retiredBy !== undefined) return
    asking = true
    const result = await ipam.allocate(HOST_ATTACHMENT, stop.signal)
    asking = false
    if (result.ok) log.info({ address: formatIpv4(result.value) }, 'address of this node in the cluster')
    else log.warn({ reason: result.error.text }, 'no address for this node itself')
  }
  const listening = ipam.onChange(() => void ask())
  void ask()
  return {
    [Symbol.dispose]() {
      stop.abort(new Error('the router stops'))
      listening[Symbol.dispose]()
    },
  }
}

async function underlayOrThrow(netlink: Netlink, config: Config): Promise<Underlay> {
  const found = await findUnderlay(netlink, config)
  if (found.ok) return found.value
  throw new WeftError('STATE', found.error, { hint: 'name the address with --advertise' })
}

/** Where peers find us. An address that a person has named is the only one. */
function addressesOf(underlay: Ipv4, { advertise }: Config): readonly Ip[] {
  return advertise === undefined ? advertisedAddresses(underlay, networkInterfaces()) : [underlay]
}

function targetOrThrow(text: string): Target {
  const target = parseTarget(text)
  if (target.ok) return target.value
  throw new WeftError('USAGE', target.error, { hint: 'name a peer as HOST, HOST:PORT, [IPv6 address]:PORT or wss://HOST/PATH' })
}

/** Those of the texts that were targets. */
function forgetTargets(mesh: Mesh, texts: readonly string[]): readonly string[] {
  const known = new Set(mesh.targets().map(formatTarget))
  const gone = texts.filter((text) => known.has(formatTarget(targetOrThrow(text))))
  mesh.forget(gone.map(targetOrThrow))
  return gone
}
