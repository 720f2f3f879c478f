/** Notifications of the kernel: what changed in a namespace, whoever did it. Equivalent to: `ip monitor`. */
import { unreachable } from '../../mesh/base/result.ts'
import { type Address, decodeAddress } from './codec/addr.ts'
import { decodeLink, type Link } from './codec/link.ts'
import { type Message, readMessages } from './codec/message.ts'
import { decodeFdbEntry, decodeNeighbour, type FdbEntry, type Neighbour } from './codec/neigh.ts'
import { RtmType } from './codec/numbers.ts'
import { decodeRoute, type Route } from './codec/route.ts'
import { type Fd, native } from './native.ts'
import { openNetlinkSocket, receiveDatagram } from './netlink.ts'

export type KernelEvent =
  | { readonly kind: 'link'; readonly change: Change; readonly link: Link }
  | { readonly kind: 'address'; readonly change: Change; readonly address: Address }
  | { readonly kind: 'route'; readonly change: Change; readonly route: Route }
  | { readonly kind: 'neighbour'; readonly change: Change; readonly neighbour: Neighbour }
  | { readonly kind: 'forwarding'; readonly change: Change; readonly entry: FdbEntry }
  /** Events were lost, as they came faster than we read, and none is being lost any more: list everything anew. */
  | { readonly kind: 'lost' }

/** `set` is said of new objects and of changed ones alike. */
type Change = 'set' | 'deleted'

type Topic = 'links' | 'neighbours' | 'addresses' | 'routes'

export interface MonitorOptions {
  /** The namespace to watch; ours when absent. */
  readonly netns?: Fd
  readonly topics: readonly Topic[]
  readonly onEvent: (event: KernelEvent) => void
}

/** RTNLGRP_*; addresses and routes have one for each family. */
const GROUPS: Readonly<Record<Topic, readonly number[]>> = { links: [1], neighbours: [3], addresses: [5, 9], routes: [7, 11] }

/** A notification is some hundred bytes; the kernel never batches them. */
const DATAGRAM_BYTES_MAX = 64 * 1024

/** Events handled before others of the process get their turn. */
const DATAGRAMS_PER_TURN_MAX = 64

/** Owns a netlink socket that only listens. */
export class Monitor implements Disposable {
  readonly #fd: Fd
  readonly #watch: number
  readonly #onEvent: (event: KernelEvent) => void
  readonly #buffer = new Uint8Array(DATAGRAM_BYTES_MAX)
  #isLosing = false
  #closed = false

  private constructor(fd: Fd, onEvent: (event: KernelEvent) => void) {
    this.#fd = fd
    this.#onEvent = onEvent
    this.#watch = native().watch(fd, true, () => this.#onReadable())
  }

  /**
   * Events begin with what happens after this returns. Keeps the process alive until disposed.
   * @throws {WeftError} KERNEL when the socket cannot be made.
   */
  static open({ netns, topics, onEvent }: MonitorOptions): Monitor {
    const groups = topics.flatMap((topic) => GROUPS[topic])
    return new Monitor(openNetlinkSocket({ groups, ...(netns === undefined ? {} : { netns }) }), onEvent)
  }

  /** No event comes after this. */
  [Symbol.dispose](): void {
    if (this.#closed) return
    this.#closed = true
    native().unwatch(this.#watch)
    native().close(this.#fd)
  }

  #onReadable(): void {
    for (let count = 0; count < DATAGRAMS_PER_TURN_MAX && !this.#closed; count++) {
      const arrival = receiveDatagram(this.#fd, this.#buffer)
      switch (arrival.kind) {
        case 'empty':
          this.#onDrained()
          return
        case 'failed':
          this.#isLosing = true
          break
        case 'datagram':
          if (!this.#isLosing) for (const message of readMessages(arrival.bytes)) this.#notify(message)
          break
        default:
          unreachable(arrival)
      }
    }
  }

  /**
   * After an overrun the kernel drops events, without telling again, until everything queued was read:
   * only then is a new list sure to miss nothing. What was queued is older than that list.
   */
  #onDrained(): void {
    if (!this.#isLosing) return
    this.#isLosing = false
    this.#onEvent({ kind: 'lost' })
  }

  #notify(message: Message): void {
    const event = decodeEvent(message)
    if (event !== undefined && !this.#closed) this.#onEvent(event)
  }
}

/** Undefined for what we do not watch: ports of bridges. */
export function decodeEvent({ type, payload }: Message): KernelEvent | undefined {
  switch (type) {
    case RtmType.newLink:
    case RtmType.deleteLink: {
      const link = decodeLink(payload)
      return link && { kind: 'link', change: type === RtmType.newLink ? 'set' : 'deleted', link }
    }
    case RtmType.newAddress:
    case RtmType.deleteAddress: {
      const address = decodeAddress(payload)
      return address && { kind: 'address', change: type === RtmType.newAddress ? 'set' : 'deleted', address }
    }
    case RtmType.newRoute:
    case RtmType.deleteRoute: {
      const route = decodeRoute(payload)
      return route && { kind: 'route', change: type === RtmType.newRoute ? 'set' : 'deleted', route }
    }
    case RtmType.newNeighbour:
    case RtmType.deleteNeighbour: {
      const change = type === RtmType.newNeighbour ? 'set' : 'deleted'
      const neighbour = decodeNeighbour(payload)
      if (neighbour !== undefined) return { kind: 'neighbour', change, neighbour }
      const entry = decodeFdbEntry(payload)
      return entry && { kind: 'forwarding', change, entry }
    }
    default:
      return undefined
  }
}
