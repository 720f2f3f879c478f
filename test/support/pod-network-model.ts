/**
 * A pod network in memory with the real one's rules: names are taken once per namespace, addresses once per network,
 * nothing remains of what fails. For tests of whoever calls a `PodNetworkPort`.
 */
import { cidrContains, formatIpv4, type Ipv4, ipv4 } from '../../mesh/base/address.ts'
import { err, ok, type Result } from '../../mesh/base/result.ts'
import type { AttachmentKey } from '../../plugin/environment.ts'
import type {
  AttachFailure,
  Attachment,
  AttachRequest,
  CheckFailure,
  CheckRequest,
  DetachFailure,
  PodNamespace,
  PodNetworkPort,
  ReserveFailure,
  ReserveRequest,
  StatusFailure,
} from '../../plugin/port.ts'

const FIRST_ADDRESS = 0x0a_20_00_02
const MTU_BYTES = 1_410

interface Entry {
  readonly key: AttachmentKey
  readonly network: string
  readonly namespace: string
  readonly address: Ipv4
  readonly request: AttachRequest
}

interface ModelOptions {
  /** How many addresses there are. */
  readonly addresses?: number
  /** Which namespace a descriptor means; by itself, its number. */
  readonly identify?: (netns: PodNamespace) => string
}

export class PodNetworkModel implements PodNetworkPort {
  readonly #entries = new Map<string, Entry>()
  /** Interfaces that others made, as NAMESPACE/NAME. */
  readonly #foreign = new Set<string>()
  readonly #free: Ipv4[]
  readonly #reserved = new Map<string, Ipv4>()
  readonly #identify: (netns: PodNamespace) => string
  #gate: Promise<void> = Promise.resolve()
  /** What every kernel call answers while set. */
  refusal: string | undefined
  /** Calls under way now. */
  busy = 0

  constructor({ addresses = 250, identify = ({ namespace }) => String(namespace) }: ModelOptions = {}) {
    this.#free = Array.from({ length: addresses }, (_, index) => ipv4(FIRST_ADDRESS + index))
    this.#identify = identify
  }

  /** The attachments there are, as CONTAINER/IFNAME, in the order of their making. */
  get attached(): readonly string[] {
    return [...this.#entries.keys()]
  }

  get freeAddresses(): number {
    return this.#free.length
  }

  /** What an attachment was asked to be. */
  requestOf(containerId: string, ifname: string): AttachRequest | undefined {
    return this.#entries.get(`${containerId}/${ifname}`)?.request
  }

  /** Somebody else makes an interface in a pod. */
  addForeignInterface(namespace: string, ifname: string): void {
    this.#foreign.add(`${namespace}/${ifname}`)
  }

  /** Holds every call from now on until the returned function is called; an attach gives up when its signal aborts. */
  hold(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#gate = promise
    return resolve
  }

  attach(request: AttachRequest, signal: AbortSignal): Promise<Result<Attachment, AttachFailure>> {
    return this.#whenOpen(() => this.#attach(request, signal), signal)
  }

  #attach(request: AttachRequest, signal: AbortSignal): Result<Attachment, AttachFailure> {
    const { key, network, netns, mac } = request
    const namespace = this.#identify(netns)
    if (signal.aborted) return err({ code: 'cancelled' })
    if (this.#entries.has(name(key))) return err({ code: 'already-attached' })
    if (this.#isNameTaken(namespace, key.ifname)) return err({ code: 'interface-exists' })
    if (this.refusal !== undefined) return err({ code: 'kernel-refused', reason: this.refusal })
    const address = this.#choose(request)
    if (address === undefined) return err({ code: 'address-unavailable', reason: 'none is free' })
    this.#entries.set(name(key), { key, network, namespace, address, request })
    return ok({
      host: { name: `weft${key.containerId.slice(0, 7)}`, mac: '0a:00:00:00:00:01' },
      pod: { mac: mac ?? '0a:00:00:00:00:02', mtuBytes: MTU_BYTES },
      addresses: [{ address: `${formatIpv4(address)}/32`, gateway: '169.254.1.1' }],
      routes: [{ destination: '0.0.0.0/0', gateway: '169.254.1.1' }],
    })
  }

  /** It is free no more. */
  #choose({ addresses: [wanted], subnet }: Pick<AttachRequest, 'addresses' | 'subnet'>): Ipv4 | undefined {
    const index = this.#free.findIndex(
      (one) => (wanted === undefined || one === wanted) && (subnet === undefined || cidrContains(subnet, one)),
    )
    return index === -1 ? undefined : this.#free.splice(index, 1)[0]
  }

  reserve(request: ReserveRequest, signal: AbortSignal): Promise<Result<Ipv4, ReserveFailure>> {
    return this.#whenOpen(() => {
      if (signal.aborted) return err({ code: 'cancelled' })
      const { key } = request
      if (this.#reserved.has(name(key))) return err({ code: 'already-attached' })
      const address = this.#choose(request)
      if (address === undefined) return err({ code: 'address-unavailable', reason: 'none is free' })
      this.#reserved.set(name(key), address)
      return ok(address)
    }, signal)
  }

  reserved(key: AttachmentKey): Promise<Ipv4 | undefined> {
    return this.#whenOpen(() => this.#reserved.get(name(key)))
  }

  release(key: AttachmentKey): Promise<void> {
    return this.#whenOpen(() => this.#release(key))
  }

  #release(key: AttachmentKey): void {
    const address = this.#reserved.get(name(key))
    if (address !== undefined) this.#free.push(address)
    this.#reserved.delete(name(key))
  }

  detach(key: AttachmentKey): Promise<Result<void, DetachFailure>> {
    return this.#whenOpen(() => this.#detach(key))
  }

  #detach(key: AttachmentKey): Result<void, DetachFailure> {
    if (this.refusal !== undefined) return err({ code: 'kernel-refused', reason: `${name(key)}: ${this.refusal}` })
    const entry = this.#entries.get(name(key))
    if (entry !== undefined) this.#free.push(entry.address)
    this.#entries.delete(name(key))
    this.#release(key)
    return ok(undefined)
  }

  check({ key, addresses }: CheckRequest): Promise<Result<void, CheckFailure>> {
    return this.#whenOpen(() => {
      const entry = this.#entries.get(name(key))
      if (entry === undefined) return err({ code: 'not-attached' })
      const own = `${formatIpv4(entry.address)}/32`
      return addresses.includes(own) ? ok(undefined) : err({ code: 'broken', faults: [`the pod has ${own}, not ${addresses.join()}`] })
    })
  }

  status(): Promise<Result<void, StatusFailure>> {
    return this.#whenOpen(() => (this.#free.length > 0 ? ok(undefined) : err({ code: 'unavailable', reason: 'all addresses are in use' })))
  }

  collect(network: string, keep: readonly AttachmentKey[]): Promise<Result<void, readonly DetachFailure[]>> {
    return this.#whenOpen(() => {
      const kept = new Set(keep.map(name))
      const stale = [...this.#entries.values()].filter((entry) => entry.network === network && !kept.has(name(entry.key)))
      const failures = stale.map(({ key }) => this.#detach(key)).flatMap((result) => (result.ok ? [] : [result.error]))
      return failures.length === 0 ? ok(undefined) : err(failures)
    })
  }

  #isNameTaken(namespace: string, ifname: string): boolean {
    const ours = [...this.#entries.values()].some((entry) => entry.namespace === namespace && entry.key.ifname === ifname)
    return ours || this.#foreign.has(`${namespace}/${ifname}`)
  }

  async #whenOpen<T>(call: () => T, signal?: AbortSignal): Promise<T> {
    this.busy += 1
    try {
      await Promise.race([this.#gate, ...(signal === undefined ? [] : [aborted(signal)])])
      return call()
    } finally {
      this.busy -= 1
    }
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

function name({ containerId, ifname }: AttachmentKey): string {
  return `${containerId}/${ifname}`
}
