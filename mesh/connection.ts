/** One stream to one peer: handshake, then sealed messages, with heartbeats in between. Decides nothing about other connections. */
import { Alarm } from './base/alarm.ts'
import { type Millis, seconds } from './base/brand.ts'
import type { Clock } from './base/clock.ts'
import { unreachable } from './base/result.ts'
import type { Endpoint, WebScheme } from './endpoint.ts'
import { encodeFrame, FRAME_BYTES_MAX, FRAME_BYTES_MAX_BEFORE_AUTH, FrameDecoder } from './framing.ts'
import {
  type Authenticated,
  abandonHandshake,
  type HandshakeCode,
  type HandshakeEffect,
  type HandshakeOptions,
  type HandshakeState,
  startHandshake,
  stepHandshake,
} from './handshake.ts'
import { challenged, checkPulse, heard, isDoubted, type Pulse, type PulseVerdict, startPulse, vouched } from './heartbeat.ts'
import { type ByeCode, decodeMessage, encodeMessage, type GossipMessage, type Message } from './messages.ts'
import type { Session } from './session.ts'
import type { Stream } from './transport.ts'

/** From the open stream to the last proof, however busily the other side drips bytes. */
const HANDSHAKE_DEADLINE: Millis = seconds(5)
/**
 * A neighbour with this much unread is slow: gossip for it is dropped, and anti-entropy brings it when it has caught
 * up. Four of the longest messages: less would stall a first exchange.
 */
export const GOSSIP_BACKLOG_BYTES_MAX: number = 1024 * 1024

/** Why a connection ended, for programs. */
export type EndCode =
  | HandshakeCode
  | 'timeout'
  | 'silence'
  | 'frame'
  /** A frame was changed on its way, repeated or left out. */
  | 'seal'
  | 'message'
  /** The other side said goodbye, or the network did. */
  | 'lost'
  /** We have a better connection with this peer. */
  | 'duplicate'
  /** One of the two has as many connections as it may have. */
  | 'full'
  /** Both have more connections than they need. */
  | 'surplus'
  /** We do not want it, or not any more. */
  | 'closed'

export interface End {
  readonly code: EndCode
  /** One line, for people. */
  readonly reason: string
}

export interface ConnectionPorts {
  readonly clock: Clock
  readonly handshake: HandshakeOptions
  /** The other side is proved; an `End` turns it away. */
  readonly admit: (connection: Connection, peer: Authenticated) => End | undefined
  /** What one that is turned away is told all the same. */
  readonly consolation: (end: End, peer: Authenticated) => readonly GossipMessage[]
  readonly established: (connection: Connection, peer: Authenticated) => void
  readonly message: (connection: Connection, peer: Authenticated, message: GossipMessage) => void
  /** The other side wants to hear that we live: to be answered by `beat`. */
  readonly asked: (connection: Connection) => void
  /** Nothing is heard of the other side: to be answered by `vouch` or `end`. */
  readonly doubted: (connection: Connection, peer: Authenticated) => void
  /** Called exactly once, and last. */
  readonly ended: (connection: Connection, end: End) => void
}

/** Bytes and messages of one connection, or of all together. */
export interface Traffic {
  readonly bytesIn: number
  readonly bytesOut: number
  readonly messagesIn: number
  readonly messagesOut: number
}

export interface Established {
  readonly peer: Authenticated
  readonly since: Millis
  /** The same moment as wall time, for people. */
  readonly sinceWall: Millis
}

type State =
  | { readonly kind: 'handshaking'; readonly handshake: HandshakeState }
  | ({ readonly kind: 'established'; readonly session: Session } & Established)
  | { readonly kind: 'ended' }

export class Connection {
  readonly outbound: boolean
  readonly #stream: Stream
  readonly #ports: ConnectionPorts
  readonly #frames = new FrameDecoder()
  readonly #traffic = { bytesIn: 0, bytesOut: 0, messagesIn: 0, messagesOut: 0 }
  #state: State
  readonly #handshakeDeadline: Disposable
  readonly #watching: Alarm
  #pulse: Pulse

  /** Takes over `stream` and begins the handshake. @param outbound we have dialled. */
  constructor(stream: Stream, outbound: boolean, ports: ConnectionPorts) {
    this.#stream = stream
    this.outbound = outbound
    this.#ports = ports
    this.#pulse = startPulse(ports.clock.now())
    this.#watching = new Alarm(ports.clock, () => this.#watch())
    const late: End = { code: 'timeout', reason: 'the handshake did not end in time' }
    this.#handshakeDeadline = ports.clock.after(HANDSHAKE_DEADLINE, () => this.end(late))
    const [handshake, effects] = startHandshake(ports.handshake, outbound)
    this.#state = { kind: 'handshaking', handshake }
    stream.start({
      received: (bytes) => this.#received(bytes),
      closed: (reason) => this.#finish({ code: 'lost', reason }),
    })
    this.#perform(effects)
  }

  get remote(): Endpoint {
    return this.#stream.remote
  }

  /** How it travels, when not by plain TCP. */
  get via(): WebScheme | undefined {
    return this.#stream.via
  }

  /** Who it is with and since when, while it is established. */
  get established(): Established | undefined {
    return this.#state.kind === 'established' ? this.#state : undefined
  }

  get traffic(): Traffic {
    return this.#traffic
  }

  /** Sends gossip. False when the connection is not established, or the other side is too slow: then nothing is sent. */
  send(message: GossipMessage): boolean {
    if (this.#state.kind !== 'established' || !this.isReady) return false
    this.#say(message, this.#state.session)
    return true
  }

  /** Whether it would take gossip now. */
  get isReady(): boolean {
    return this.#state.kind === 'established' && this.#stream.backlogBytes <= GOSSIP_BACKLOG_BYTES_MAX
  }

  /** Nothing was heard since the last doubt. */
  get isDoubted(): boolean {
    return isDoubted(this.#pulse)
  }

  /** The other side's host has answered. */
  vouch(): void {
    if (this.#state.kind !== 'established') return
    this.#pulse = vouched(this.#pulse, this.#ports.clock.now())
    this.#watching.at(this.#pulse.dueAt)
  }

  /** Somebody else doubts the other side. False when it has given a sign of life, or is doubted already. */
  challenge(): boolean {
    const pulse = challenged(this.#pulse, this.#ports.clock.now())
    if (this.#state.kind !== 'established' || pulse === undefined) return false
    this.#pulse = pulse
    return true
  }

  /** Says that we live, and will say so again within this time. */
  beat(within: Millis, wantsAnswer = false): void {
    if (this.#state.kind === 'established') this.#say({ kind: 'heartbeat', within, wantsAnswer }, this.#state.session)
  }

  /** Ends the connection, telling the other side why if that is a peer. */
  end(end: End): void {
    if (this.#state.kind === 'ended') return
    if (this.#state.kind === 'established') this.#say(byeOf(end), this.#state.session)
    this.#stream.close()
    this.#finish(end)
  }

  #finish(end: End): void {
    if (this.#state.kind === 'ended') return
    if (this.#state.kind === 'established') this.#state.session[Symbol.dispose]()
    else abandonHandshake(this.#state.handshake)
    this.#state = { kind: 'ended' }
    this.#handshakeDeadline[Symbol.dispose]()
    this.#watching[Symbol.dispose]()
    this.#ports.ended(this, end)
  }

  #received(piece: Uint8Array): void {
    this.#traffic.bytesIn += piece.length
    this.#hear()
    this.#frames.push(piece)
    while (this.#state.kind !== 'ended') {
      const frame = this.#frames.next(this.#state.kind === 'established' ? FRAME_BYTES_MAX : FRAME_BYTES_MAX_BEFORE_AUTH)
      if (!frame.ok) {
        this.end({ code: 'frame', reason: frame.error })
        return
      }
      if (frame.value === undefined) return
      this.#onFrame(frame.value)
    }
  }

  #onFrame(payload: Uint8Array): void {
    this.#traffic.messagesIn += 1
    if (this.#state.kind === 'handshaking') {
      const [handshake, effects] = stepHandshake(this.#state.handshake, payload, this.#ports.handshake)
      this.#state = { kind: 'handshaking', handshake }
      this.#perform(effects)
    } else if (this.#state.kind === 'established') {
      const { session, peer } = this.#state
      const opened = session.open(payload)
      if (opened.ok) this.#onMessage(opened.value, peer)
      else this.end({ code: opened.error, reason: 'a frame was changed on its way, repeated or left out' })
    }
  }

  #perform(effects: readonly HandshakeEffect[]): void {
    for (const effect of effects) {
      switch (effect.kind) {
        case 'send':
          this.#write(effect.payload)
          break
        case 'reject':
          this.end({ code: effect.code, reason: effect.reason })
          break
        case 'done':
          this.#onProved(effect)
          break
        default:
          unreachable(effect)
      }
    }
  }

  #onProved({ peer, session, last }: HandshakeEffect & { kind: 'done' }): void {
    const unwanted = this.#ports.admit(this, peer)
    if (unwanted !== undefined) {
      // Who accepted is taken for established by the other side, and can say why not; who dialled just withdraws.
      if (!this.outbound) {
        for (const message of [...this.#ports.consolation(unwanted, peer), byeOf(unwanted)]) this.#say(message, session)
      }
      session[Symbol.dispose]()
      this.end(unwanted)
      return
    }
    if (last !== undefined) this.#write(last)
    const now = this.#ports.clock.now()
    this.#state = { kind: 'established', session, peer, since: now, sinceWall: this.#ports.clock.wallTime() }
    this.#handshakeDeadline[Symbol.dispose]()
    this.#pulse = startPulse(now)
    this.#watching.at(this.#pulse.dueAt)
    this.#ports.established(this, peer)
  }

  #onMessage(payload: Uint8Array, peer: Authenticated): void {
    const decoded = decodeMessage(payload)
    if (!decoded.ok) {
      this.end({ code: 'message', reason: `a message ${decoded.error}` })
      return
    }
    const message = decoded.value
    if (message.kind === 'bye') {
      this.#stream.close()
      const code = message.code === 'other' ? 'lost' : message.code
      this.#finish({ code, reason: `closed by the peer: ${message.reason}` })
    } else if (message.kind === 'heartbeat') {
      this.#hear(message.within)
      if (message.wantsAnswer) this.#ports.asked(this)
    } else {
      this.#ports.message(this, peer, message)
    }
  }

  #hear(promise?: Millis): void {
    this.#pulse = heard(this.#pulse, this.#ports.clock.now(), promise)
    if (this.#state.kind === 'established') this.#watching.at(this.#pulse.dueAt)
  }

  #watch(): void {
    const { verdict, pulse } = checkPulse(this.#pulse, this.#ports.clock.now())
    this.#pulse = pulse
    this.#watching.at(pulse.dueAt)
    if (verdict !== undefined) this.#onVerdict(verdict)
  }

  #onVerdict(verdict: PulseVerdict): void {
    if (this.#state.kind !== 'established') return
    switch (verdict) {
      case 'doubt':
        this.#ports.doubted(this, this.#state.peer)
        break
      case 'dead':
        this.end({ code: 'silence', reason: 'the peer has fallen silent' })
        break
      default:
        unreachable(verdict)
    }
  }

  #say(message: Message, session: Session): void {
    this.#write(session.seal(encodeMessage(message)))
  }

  #write(payload: Uint8Array): void {
    const frame = encodeFrame(payload)
    this.#traffic.bytesOut += frame.length
    this.#traffic.messagesOut += 1
    this.#stream.write(frame)
  }
}

function byeOf({ code, reason }: End): Message {
  const byeCode: ByeCode = code === 'full' || code === 'surplus' ? code : 'other'
  return { kind: 'bye', reason, code: byeCode }
}
