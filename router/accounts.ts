/**
 * The account of addresses: what is allocated against what exists, on this node and on all others. What the kernel
 * says is the truth: a pod is there exactly as long as its link, which carries a note of whose it is.
 */
import { type AttachmentKey, isBare } from '../ipam/attachment.ts'
import type { CensusAnswer, NodeProof } from '../ipam/census.ts'
import type { Ipam } from '../ipam/ipam.ts'
import type { SeedId } from '../ipam/ring.ts'
import { type Cidr, cidrContains, cidrSize, formatCidr, formatIpv4, type Ipv4, rangeToCidrs } from '../mesh/base/address.ts'
import { millis, type PeerName, seconds } from '../mesh/base/brand.ts'
import { deadline, sleep } from '../mesh/base/clock.ts'
import { isIpv4 } from '../mesh/base/ip.ts'
import type { Logger } from '../mesh/base/log.ts'
import { err, ok, type Result } from '../mesh/base/result.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { CheckReport, GcReport, PeerAccount } from './api/contract.ts'
import type { Activity } from './datapath/activity.ts'
import { podLinkName, VXLAN_LINK } from './datapath/names.ts'
import { podLinks } from './datapath/pod-links.ts'
import { listAddresses } from './kernel/addr.ts'
import { describeKernelError, type KernelError, toWeftError } from './kernel/kernel-error.ts'
import { listLinks } from './kernel/link.ts'
import type { Netlink } from './kernel/netlink.ts'

/** What the kernel knows of; of the node itself it knows the address on its VXLAN device. */
export type Attachments = ReadonlyMap<AttachmentKey, Ipv4 | undefined>

interface KernelView {
  readonly netlink: Netlink
  readonly ipam: Ipam
  readonly universe: Cidr
  /** What has its address on the VXLAN device, and no link of its own. */
  readonly hostAttachment: AttachmentKey
}

export interface AccountsOptions extends KernelView {
  readonly mesh: Mesh
  readonly activity: Activity
}

/** Within the time that the command waits for an answer, with some to spare. */
const CHECK_WITHIN = seconds(6)
const ANSWER_WITHIN = seconds(2)
/** News of a change takes about as long to every peer. */
const ASK_AGAIN_AFTER = millis(250)

/**
 * Makes the allocations those of the pods that exist; for a router that starts, before it touches anything: the pods of
 * a node that was rebooted are gone, and of a journal that was damaged some records are.
 * @param lost pods whose addresses are another peer's since this node has taken a new name.
 * @throws {WeftError} KERNEL
 */
export async function settleAccounts(view: KernelView, lost: readonly AttachmentKey[], log: Logger): Promise<void> {
  const found = await listAttachments(view)
  if (!found.ok) throw toWeftError(found.error)
  const withoutAddress = lost.filter((key) => found.value.has(key)).map((key) => [key, undefined] as const)
  const { freed, relearnt, refused } = view.ipam.upkeep.reconcile(new Map([...found.value, ...withoutAddress]))
  if (freed.length > 0) log.info({ count: freed.length }, 'freed addresses of pods that are gone')
  if (relearnt.length > 0)
    log.warn({ count: relearnt.length, reason: named(relearnt) }, 'took up addresses of pods that the journal had lost')
  if (refused.length > 0)
    log.error({ count: refused.length, reason: named(refused) }, 'pods have addresses that they cannot have; delete them')
}

export class Accounts {
  readonly #options: AccountsOptions

  constructor(options: AccountsOptions) {
    this.#options = options
    options.ipam.upkeep.proveWith(() => this.#prove())
  }

  /** Asks every peer. Takes some seconds at most. */
  async check(): Promise<CheckReport> {
    const { ipam, mesh, universe } = this.#options
    const own = await this.#prove()
    const limit = deadline(CHECK_WITHIN)
    const names = new Set([...mesh.peers().map(({ name }) => name), ...ipam.ranges().map(({ owner }) => owner)])
    names.delete(mesh.name)
    const others = await Promise.all([...names].sort().map((name) => this.#ask(name, limit)))
    const peers = [
      this.#account(mesh.name, {
        digest: new Uint8Array(),
        seedId: undefined,
        inDoubt: false,
        proof: { ...own, findingsCount: own.findings.length },
      }),
      ...others,
    ]
    const ringFindings = ipam.upkeep.ringFindings()
    const findings = [...ringFindings, ...peers.flatMap((peer) => peer.findings.map((finding) => `${label(peer)}: ${finding}`))]
    return {
      ok: findings.length === 0,
      range: formatCidr(universe),
      addresses: cidrSize(universe),
      allocated: sum(peers, ({ allocated = 0 }) => allocated),
      living: sum(peers, ({ living = 0 }) => living),
      findings,
      peers,
    }
  }

  /** Frees what is allocated here to nothing that exists. */
  async collect(dryRun: boolean): Promise<GcReport> {
    const { ipam, activity } = this.#options
    using observed = activity.observe()
    const found = await listAttachments(this.#options)
    if (!found.ok) throw toWeftError(found.error)
    const leaks = [...ipam.upkeep.leaks({ attachments: found.value, busy: observed.keys })]
    const freed: { attachment: string; address: string }[] = []
    for (const [key, address] of leaks) {
      // Since we looked it may have been freed, and even attached anew.
      if (observed.keys.has(key) || ipam.lookup(key) !== address) continue
      if (!dryRun) await ipam.free(key)
      freed.push({ attachment: key, address: formatIpv4(address) })
    }
    return { dryRun, freed }
  }

  async #prove(): Promise<NodeProof> {
    const { ipam, activity } = this.#options
    using observed = activity.observe()
    const found = await listAttachments(this.#options)
    if (found.ok) return ipam.upkeep.prove({ attachments: found.value, busy: observed.keys })
    return { allocated: ipam.allocations().size, living: 0, findings: [describeKernelError(found.error)] }
  }

  /** Again and again until it has the same ring as we have, or time is up. */
  async #ask(peer: PeerName, limit: AbortSignal): Promise<PeerAccount> {
    const { ipam, mesh } = this.#options
    let last: CensusAnswer | undefined
    while (!limit.aborted) {
      const isLost = mesh.livenessOf(peer) === 'dead' || mesh.livenessOf(peer) === 'left'
      const answer = isLost ? undefined : await ipam.upkeep.ask(peer, ANSWER_WITHIN)
      last = answer ?? last
      if (isLost || (answer !== undefined && (ipam.upkeep.isAgreed(answer) || ipam.upkeep.isApart(answer)))) break
      await sleep(ASK_AGAIN_AFTER)
    }
    return this.#account(peer, last)
  }

  #compare(answer: CensusAnswer | undefined): PeerAccount['ring'] {
    const { upkeep } = this.#options.ipam
    if (answer === undefined) return 'unheard'
    if (upkeep.isAgreed(answer)) return 'same'
    if (answer.seedId === undefined) return 'none'
    return upkeep.isApart(answer) ? 'apart' : 'differs'
  }

  #account(peer: PeerName, answer: CensusAnswer | undefined): PeerAccount {
    const { ipam, mesh } = this.#options
    const isSelf = peer === mesh.name
    const state = isSelf ? 'alive' : mesh.livenessOf(peer)
    const ranges = ipam.ranges().flatMap(({ owner, range }) => (owner === peer ? rangeToCidrs(range).map(formatCidr) : []))
    const ring = isSelf ? 'same' : this.#compare(answer)
    const proof = answer?.proof
    const findings = [...ringWords({ ring, state, ranges, theirs: answer?.seedId }), ...(proof?.findings ?? []), ...more(proof)]
    return {
      name: peer,
      nickname: mesh.peers().find(({ name }) => name === peer)?.nickname ?? '',
      state,
      ranges,
      ring,
      ...(proof === undefined ? {} : { allocated: proof.allocated, living: proof.living }),
      findings,
    }
  }
}

/** Attachments of which there is a trace in the kernel: a link with our note, or with the name of one that has an address. */
async function listAttachments({ netlink, ipam, universe, hostAttachment }: KernelView): Promise<Result<Attachments, KernelError>> {
  const links = await listLinks(netlink)
  if (!links.ok) return err(links.error)
  const names = new Set(links.value.map(({ name }) => name))
  const attachments = new Map<AttachmentKey, Ipv4 | undefined>()
  // What another plugin has an address of ours for leaves no trace that we know: it exists until that plugin says otherwise.
  for (const key of ipam.allocations().keys()) if (isBare(key) || names.has(podLinkName(key))) attachments.set(key, undefined)
  for (const { key, address } of podLinks(links.value)) attachments.set(key, address)
  const vxlan = links.value.find(({ name }) => name === VXLAN_LINK)
  const addresses = vxlan === undefined ? ok([]) : await listAddresses(netlink, vxlan.index)
  if (!addresses.ok) return err(addresses.error)
  const own = addresses.value.flatMap(({ address }) => (isIpv4(address) && cidrContains(universe, address) ? [address] : [])).at(0)
  // Before the first pass there is no device, and one of an earlier life of this machine may have been another peer's.
  const isOurs = ipam.lookup(hostAttachment) !== undefined || ipam.status().doubt !== undefined
  if (isOurs) attachments.set(hostAttachment, own)
  return ok(attachments)
}

interface RingView extends Pick<PeerAccount, 'ring' | 'state' | 'ranges'> {
  readonly theirs: SeedId | undefined
}

function ringWords({ ring, state, ranges, theirs }: RingView): readonly string[] {
  const owns = ranges.length === 0 ? 'owns nothing' : `owns ${ranges.join(', ')}`
  // Whose pods are worth more no check can say.
  if (ring === 'apart') return [`it has a ring that began apart from ours, ${theirs}: decide which one stands with \`weft ipam resolve\``]
  if (ring === 'none') return [`it has no ring yet; by ours it ${owns}`]
  if (ring === 'differs') return [`its ring is another than ours; by ours it ${owns}`]
  // Whoever is gone and owned nothing has left nothing behind.
  if (ring === 'same' || (ranges.length === 0 && state !== 'alive' && state !== 'suspect')) return []
  const what = state === 'alive' || state === 'suspect' ? 'does not answer' : state === 'left' ? 'has left' : 'is dead'
  return [`${what}, and ${owns}`]
}

function more(proof: CensusAnswer['proof']): readonly string[] {
  const count = proof === undefined ? 0 : proof.findingsCount - proof.findings.length
  return count > 0 ? [`and ${count} more; run the check there`] : []
}

function label({ name, nickname }: PeerAccount): string {
  return `${name}(${nickname})`
}

function named(keys: readonly AttachmentKey[]): string {
  return keys.slice(0, 3).join(', ')
}

function sum<T>(items: readonly T[], count: (item: T) => number): number {
  return items.reduce((total, item) => total + count(item), 0)
}
