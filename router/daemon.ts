/** The router: builds every part in order, lets them know each other, and takes them down in reverse. */
import { flushCompileCache } from 'node:module'
import { networkInterfaces } from 'node:os'
import { attachmentKey } from '../ipam/attachment.ts'
import { Ipam } from '../ipam/ipam.ts'
import { parseIpamInit } from '../ipam/seed.ts'
import { formatIpv4, type Ipv4 } from '../mesh/base/address.ts'
import type { PeerName } from '../mesh/base/brand.ts'
import { type Clock, systemClock } from '../mesh/base/clock.ts'
import { WeftError } from '../mesh/base/errors.ts'
import { type Ip, isIpv4 } from '../mesh/base/ip.ts'
import type { Logger } from '../mesh/base/log.ts'
import { systemRandom } from '../mesh/base/random.ts'
import { loadCrypto } from '../mesh/crypto.ts'
import { formatTarget, parseTarget, type Target } from '../mesh/endpoint.ts'
import { loadOrCreateIdentity } from '../mesh/identity-file.ts'
import { Mesh } from '../mesh/mesh.ts'
import { netTransport } from '../mesh/transport-net.ts'
import { advertisedAddresses } from './addresses.ts'
import type { Snapshot } from './api/contract.ts'
import type { ApiPorts } from './api/handlers.ts'
import { ApiServer } from './api/server.ts'
import type { CliIo } from './cli/io.ts'
import { apiSocketPath, cniSocketPath, identityPath, ipamDirectory, knownPeersPath, pendingDirectory } from './cli/paths.ts'
import { VERSION } from './cli/version.ts'
import { startCni } from './cni/start.ts'
import type { Config } from './config.ts'
import { Datapath } from './datapath/datapath.ts'
import type { Destination } from './datapath/fib.ts'
import { findUnderlay, type PassInput } from './datapath/pass.ts'
import { Pods } from './datapath/pods.ts'
import type { Underlay } from './datapath/underlay.ts'
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

/** Runs until `io.signal` aborts. What it made in the kernel stays: pods go on talking. */
export async function runRouter(config: Config, peers: readonly string[], io: CliIo): Promise<void> {
  const log = createLog(config.logLevel, config.nickname)
  const stopped = new AbortController()
  const signal = AbortSignal.any([io.signal, stopped.signal])
  const stop = (): void => stopped.abort(new Error('this node has left the cluster'))
  await using router = await startRouter(config, { targets: peers.map(targetOrThrow), stop }, log)
  log.info({ peer: router.name, address: apiSocketPath(config.runDirectory) }, 'router started')
  // Node would keep what it has compiled only at a clean exit, which a router may never see.
  flushCompileCache()
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
  log.info({ reason: String(signal.reason) }, 'router stops')
}

interface Router extends AsyncDisposable {
  readonly name: PeerName
}

/** What it is told beside its configuration. */
interface Told {
  readonly targets: readonly Target[]
  /** Stops the router in good order. */
  stop(): void
}

/** @throws {WeftError} that says which part could not start, and why. */
async function startRouter(config: Config, { targets, stop }: Told, log: Logger): Promise<Router> {
  await using starting = new AsyncDisposableStack()
  const clock = systemClock
  const crypto = await loadCrypto()
  const identity = await loadOrCreateIdentity(identityPath(config.stateDirectory), crypto)
  const secrets = await loadSecrets(config, crypto)
  if (secrets.isOpen) log.warn({}, 'the cluster is open: anybody who reaches the port of the mesh may join it')
  const keys = starting.use(new KeyRotation({ ...secrets, crypto, clock, log }))
  const init = parseIpamInit(config.ipamInit, identity.name)
  const netlink = starting.use(Netlink.open({ clock }))
  const underlay = await underlayOrThrow(netlink, config)
  const directory = ipamDirectory(config.stateDirectory)
  const peersFile = knownPeersPath(config.stateDirectory)
  const ipam = starting.use(
    await Ipam.open({ self: identity.name, universe: config.universe, init, directory, clock, random: systemRandom, log }),
  )
  const mesh = starting.use(
    await Mesh.start({
      identity,
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
      zone: undefined,
    }),
  )
  // The seam for joining under another name: until a router can do that by itself, a person has to.
  ipam.onRetired((retirement) => logRetirement(log, identity.name, retirement))
  ipam.attach(mesh.register(ipam.part))
  keys.attach(mesh)
  starting.use(keepKnownPeers(peersFile, mesh, { clock, log }))
  await serve({ config, isOpen: secrets.isOpen, keys, mesh, ipam, netlink, clock, log, stop }, starting)
  const running = starting.move()
  return { name: identity.name, [Symbol.asyncDispose]: () => running.disposeAsync() }
}

interface Parts {
  readonly config: Config
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
  const { config, isOpen, keys, mesh, ipam, netlink, clock, log } = parts
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
    ...(ipam.ranges().length > 0 ? [] : ['a ring of address ranges']),
    ...(ipam.retiredBy === undefined ? [] : ['a new name, as this one was removed from the cluster']),
    ...(datapath.settled ? [] : ['the kernel']),
    ...(ipam.ranges().length === 0 || datapath.hostAddress !== undefined ? [] : ['an address of its own']),
  ]
  const pods = new Pods({
    netlink,
    ipam,
    clock,
    mtuBytes: () => datapath.podMtuBytes,
    hostAddress: () => datapath.hostAddress,
    unavailable: () => (waitingFor().length === 0 ? undefined : `the router waits for ${waitingFor().join(', ')}`),
  })
  await pods.sweep(HOST_ATTACHMENT)
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
    router: routerReport(mesh, { keyring: keys.keyring, isOpen }),
    ipam: ipamReport(ipam, mesh),
    datapath: datapath.report(),
  })
  const forget = (texts: readonly string[]): readonly string[] => forgetTargets(mesh, texts)
  const connect = (texts: readonly string[], replace: boolean): void => mesh.connect(texts.map(targetOrThrow), { replace })
  const ports = { snapshot, connect, forget, ...keyPorts(keys), ...memberPorts(parts) }
  stack.use(await ApiServer.start({ path: apiSocketPath(config.runDirectory), ports, log }))
}

function memberPorts({ ipam, mesh, log, stop }: Parts): Pick<ApiPorts, 'removePeer' | 'reset' | 'stop'> {
  const ports = { ipam, peers: () => mesh.peers(), log }
  return {
    removePeer: (peer, leaveAbsent) => removePeer(ports, peer, leaveAbsent),
    reset: (force) => leaveCluster(ports, HOST_ATTACHMENT, force),
    stop,
  }
}

function keyPorts(keys: KeyRotation): Pick<ApiPorts, 'keys' | 'rotateKeys'> {
  return { keys: () => keys.report(), rotateKeys: (leaveAbsent) => keys.rotate(leaveAbsent) }
}

function wantsOf({ config, mesh, ipam }: Parts): PassInput {
  const destinations = mesh.peers().flatMap(({ name, addresses, mtuBytes }): [PeerName, Destination][] => {
    // Pods' packets travel over IPv4 only; the mesh uses every address.
    const underlay = addresses.find(isIpv4)
    return underlay === undefined ? [] : [[name, { peer: name, underlay, mtuBytes }]]
  })
  return {
    self: mesh.name,
    universe: config.universe,
    advertise: config.advertise,
    mtuBytes: config.mtuBytes,
    ranges: ipam.ranges(),
    destinations: new Map(destinations),
    allocations: ipam.allocations(),
    hostAddress: ipam.lookup(HOST_ATTACHMENT),
  }
}

/** Asks for the node's own address as soon as there is a ring, and again after every change until there is one. */
function keepHostAddress(ipam: Ipam, log: Logger): Disposable {
  const stop = new AbortController()
  let asking = false
  const ask = async (): Promise<void> => {
    if (asking || stop.signal.aborted || ipam.lookup(HOST_ATTACHMENT) !== undefined || ipam.ranges().length === 0) return
    if (ipam.retiredBy !== undefined) return
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
