/** One connection, on a simulated network, against an other side that we play by hand. */
import { describe, expect, test } from 'vitest'
import { parseIpv4 } from '../../../mesh/base/address.ts'
import { seconds } from '../../../mesh/base/brand.ts'
import { seededRandom } from '../../../mesh/base/random.ts'
import { encodeWire } from '../../../mesh/base/wire.ts'
import { Connection, type ConnectionPorts, type End, GOSSIP_BACKLOG_BYTES_MAX } from '../../../mesh/connection.ts'
import { encodeFrame, FRAME_BYTES_MAX, FrameDecoder } from '../../../mesh/framing.ts'
import { type HandshakeOptions, type HandshakeState, startHandshake, stepHandshake } from '../../../mesh/handshake.ts'
import { decodeMessage, encodeMessage, type GossipMessage, type Message } from '../../../mesh/messages.ts'
import type { Session } from '../../../mesh/session.ts'
import type { Stream } from '../../../mesh/transport.ts'
import { keyringOf } from '../../support/keyrings.ts'
import { identityOf, withBitFlipped } from '../../support/mesh-records.ts'
import { simCrypto } from '../../support/sim/crypto.ts'
import { SimHost } from '../../support/sim/host.ts'
import { SimNetwork } from '../../support/sim/network.ts'
import { TestClock } from '../../support/test-clock.ts'

const crypto = simCrypto(seededRandom(1))
const here = parseIpv4('198.18.0.1')
const there = parseIpv4('198.18.0.2')

function optionsOf(index: number): HandshakeOptions {
  return {
    identity: identityOf(index, crypto),
    crypto,
    cluster: 'c',
    keyring: keyringOf(1, crypto),
    instance: new Uint8Array(16).fill(index),
    hadPods: true,
    startedAt: 1,
    incarnation: () => index,
  }
}

interface Scene {
  readonly clock: TestClock
  readonly network: SimNetwork
  /** Ours, which accepted. */
  readonly connection: Connection
  /** The other side's, which dialled; nothing reads or writes it but the test. */
  readonly stream: Stream
  readonly ended: { readonly end: End; readonly at: number }[]
  /** When the other side was doubted, in whole seconds. */
  readonly doubtedAt: number[]
  readonly received: Message[]
}

interface Script {
  /** Turns the peer away once it is proved. */
  readonly unwanted?: End
  readonly consolation?: readonly GossipMessage[]
  /** What to do about a doubt. */
  readonly doubted?: (connection: Connection) => void
}

async function scene({ unwanted, consolation = [], doubted = () => undefined }: Script = {}): Promise<Scene> {
  const clock = new TestClock()
  const network = new SimNetwork({ clock, random: seededRandom(1), quality: { latencyMs: [1, 2], loss: 0 } })
  const [ours, theirs] = [new SimHost(network, here), new SimHost(network, there)]
  const ended: Scene['ended'] = []
  const doubtedAt: Scene['doubtedAt'] = []
  const received: Message[] = []
  const connections: Connection[] = []
  const streams: Stream[] = []
  const second = (): number => Math.floor(clock.now() / 1_000)
  const ports: ConnectionPorts = {
    clock,
    handshake: optionsOf(1),
    admit: () => unwanted,
    consolation: () => consolation,
    established: () => undefined,
    message: (_connection, _peer, message) => void received.push(message),
    asked: (connection) => connection.beat(seconds(3)),
    doubted: (connection) => {
      doubtedAt.push(second())
      doubted(connection)
    },
    ended: (_connection, end) => void ended.push({ end, at: second() }),
  }
  await ours.transport().listen({ host: '0.0.0.0', port: 1 }, (stream) => connections.push(new Connection(stream, false, ports)))
  theirs.transport().dial({ host: '198.18.0.1', port: 1 }, (outcome) => outcome.ok && streams.push(outcome.value))
  clock.advance(seconds(0.1))
  const [connection] = connections
  const [stream] = streams
  if (connection === undefined || stream === undefined) throw new Error('the network carries no streams')
  return { clock, network, connection, stream, ended, doubtedAt, received }
}

interface Side {
  /** What our side has said, the handshake not counted. */
  readonly heard: Message[]
  closed: string | undefined
  /** The frame that says so. */
  frame(payload: Uint8Array): Uint8Array
}

/** Plays a proper dialler up to its proof. */
function shakeHands({ clock, stream }: Scene): Side {
  let session: Session | undefined
  const side: Side = {
    heard: [],
    closed: undefined,
    frame: (payload) => encodeFrame(session?.seal(payload) ?? payload),
  }
  const frames = new FrameDecoder()
  const [first, effects] = startHandshake(optionsOf(2), true)
  let state: HandshakeState = first
  const onFrame = (payload: Uint8Array) => {
    const opened = session?.open(payload)
    if (opened?.ok) {
      const message = decodeMessage(opened.value)
      if (message.ok) side.heard.push(message.value)
      return
    }
    const [next, more] = stepHandshake(state, payload, optionsOf(2))
    state = next
    for (const effect of more) {
      if (effect.kind !== 'done') continue
      if (effect.last !== undefined) stream.write(encodeFrame(effect.last))
      session = effect.session
    }
  }
  stream.start({
    received: (bytes) => {
      frames.push(bytes)
      for (let frame = frames.next(FRAME_BYTES_MAX); frame.ok && frame.value !== undefined; frame = frames.next(FRAME_BYTES_MAX))
        onFrame(frame.value)
    },
    closed: (reason) => {
      side.closed = reason
    },
  })
  for (const effect of effects) if (effect.kind === 'send') stream.write(encodeFrame(effect.payload))
  clock.advance(seconds(0.1))
  return side
}

const news = { kind: 'deltas', channel: 'peers', deltas: [Uint8Array.of(1)] } as const

test('a proper peer is established, heard, and told goodbye with the reason', async () => {
  const stage = await scene()
  const side = shakeHands(stage)
  expect(stage.connection.established?.peer.name).toBe(identityOf(2, crypto).name)
  stage.stream.write(side.frame(encodeMessage(news)))
  stage.clock.advance(seconds(0.1))
  expect(stage.received).toEqual([news])
  stage.connection.end({ code: 'closed', reason: 'enough' })
  stage.clock.advance(seconds(0.1))
  expect(side).toMatchObject({ heard: [{ kind: 'bye', reason: 'enough', code: 'other' }], closed: 'closed by the other side' })
  expect(stage.ended).toEqual([{ end: { code: 'closed', reason: 'enough' }, at: 0 }])
  expect([stage.connection.isReady, stage.connection.send({ kind: 'digests', digests: [] })]).toEqual([false, false])
})

test('a peer that is turned away is told why, and whom to turn to', async () => {
  const stage = await scene({ unwanted: { code: 'full', reason: 'connection limit reached (12)' }, consolation: [news] })
  const side = shakeHands(stage)
  expect(side.heard).toEqual([news, { kind: 'bye', reason: 'connection limit reached (12)', code: 'full' }])
  expect(stage.connection.established).toBeUndefined()
  expect(stage.ended.map(({ end }) => end.code)).toEqual(['full'])
})

describe('a goodbye', () => {
  test.each([
    { said: 'full', heard: 'full' },
    { said: 'surplus', heard: 'surplus' },
    { said: 'other', heard: 'lost' },
  ] as const)('of the other side for the reason $said is passed on as $heard', async ({ said, heard }) => {
    const stage = await scene()
    const side = shakeHands(stage)
    stage.stream.write(side.frame(encodeMessage({ kind: 'bye', reason: 'tired', code: said })))
    stage.clock.advance(seconds(0.1))
    expect(stage.ended.map(({ end }) => end)).toEqual([{ code: heard, reason: 'closed by the peer: tired' }])
  })

  test.each([
    { code: 'full', said: 'full' },
    { code: 'surplus', said: 'surplus' },
    { code: 'silence', said: 'other' },
    { code: 'duplicate', said: 'other' },
  ] as const)('of ours for $code is said as $said', async ({ code, said }) => {
    const stage = await scene()
    const side = shakeHands(stage)
    stage.connection.end({ code, reason: 'tired' })
    stage.clock.advance(seconds(0.1))
    expect(side.heard).toEqual([{ kind: 'bye', reason: 'tired', code: said }])
  })
})

describe('who is proved, and then', () => {
  test.each([
    {
      name: 'sends a frame too long',
      bytes: () => Uint8Array.of(0, 4, 0, 1),
      end: { code: 'frame', reason: 'a frame of 262145 bytes, more than 262144' },
    },
    {
      name: 'sends an unknown message',
      bytes: (side: Side) => side.frame(encodeWire([99])),
      end: { code: 'message', reason: 'a message of an unknown type 99' },
    },
    {
      name: 'sends no message at all',
      bytes: (side: Side) => side.frame(Uint8Array.of(0xc1)),
      end: { code: 'message', reason: 'a message type 0xc1, which is not spoken here' },
    },
    {
      name: 'sends a frame that is not sealed',
      bytes: () => encodeFrame(encodeMessage({ kind: 'heartbeat', within: seconds(3), wantsAnswer: false })),
      end: { code: 'seal', reason: 'a frame was changed on its way, repeated or left out' },
    },
    {
      name: 'sends a frame of which a bit was changed on its way',
      bytes: (side: Side) => withBitFlipped(side.frame(encodeMessage({ kind: 'heartbeat', within: seconds(3), wantsAnswer: false })), 40),
      end: { code: 'seal', reason: 'a frame was changed on its way, repeated or left out' },
    },
    {
      name: 'leaves out a frame',
      bytes: (side: Side) =>
        side.frame(Uint8Array.of(1)) && side.frame(encodeMessage({ kind: 'heartbeat', within: seconds(3), wantsAnswer: false })),
      end: { code: 'seal', reason: 'a frame was changed on its way, repeated or left out' },
    },
  ])('$name is shown out', async ({ bytes, end }) => {
    const stage = await scene()
    const side = shakeHands(stage)
    stage.stream.write(bytes(side))
    stage.clock.advance(seconds(0.1))
    expect(stage.ended.map((one) => one.end)).toEqual([end])
  })

  test('falls silent is doubted once, and ended after a minute when nobody has decided before', async () => {
    const stage = await scene()
    const side = shakeHands(stage)
    stage.clock.advance(seconds(80))
    expect(stage.doubtedAt).toEqual([7])
    expect(stage.connection.isDoubted).toBe(true)
    expect(stage.ended).toEqual([{ end: { code: 'silence', reason: 'the peer has fallen silent' }, at: 60 }])
    expect(side.heard.map(({ kind }) => kind)).toEqual(['bye'])
  })

  test('falls silent is ended at once when its host does not answer either', async () => {
    const stage = await scene({ doubted: (connection) => connection.end({ code: 'silence', reason: 'no answer' }) })
    shakeHands(stage)
    stage.clock.advance(seconds(80))
    expect(stage.ended).toEqual([{ end: { code: 'silence', reason: 'no answer' }, at: 7 }])
    expect(stage.doubtedAt).toEqual([7])
  })

  test('falls silent is asked for every five seconds while its host answers, and lives on when it speaks', async () => {
    const stage = await scene({ doubted: (connection) => connection.vouch() })
    const side = shakeHands(stage)
    stage.clock.advance(seconds(20))
    expect(stage.doubtedAt).toEqual([7, 12, 17])
    stage.stream.write(side.frame(encodeMessage({ kind: 'heartbeat', within: seconds(3), wantsAnswer: false })))
    stage.clock.advance(seconds(2))
    expect([stage.connection.isDoubted, stage.ended]).toEqual([false, []])
    // It is watched as before.
    stage.clock.advance(seconds(3))
    expect(stage.doubtedAt).toEqual([7, 12, 17, 23])
  })

  test('is cut off is doubted the same', async () => {
    const stage = await scene()
    shakeHands(stage)
    stage.network.cut(here, there)
    stage.clock.advance(seconds(80))
    expect(stage.doubtedAt).toEqual([7])
    expect(stage.ended.map(({ end }) => end.code)).toEqual(['silence'])
  })

  test('that somebody else doubts is doubted until it says something', async () => {
    const stage = await scene()
    const side = shakeHands(stage)
    stage.clock.advance(seconds(1))
    expect([stage.connection.challenge(), stage.connection.challenge(), stage.connection.isDoubted]).toEqual([true, false, true])
    stage.stream.write(side.frame(encodeMessage({ kind: 'heartbeat', within: seconds(3), wantsAnswer: false })))
    stage.clock.advance(seconds(0.1))
    expect([stage.connection.isDoubted, stage.connection.challenge(), stage.doubtedAt]).toEqual([false, false, []])
  })

  test('asks whether we live is answered', async () => {
    const stage = await scene()
    const side = shakeHands(stage)
    stage.stream.write(side.frame(encodeMessage({ kind: 'heartbeat', within: seconds(3), wantsAnswer: true })))
    stage.clock.advance(seconds(0.1))
    expect(side.heard).toEqual([{ kind: 'heartbeat', within: seconds(3), wantsAnswer: false }])
  })

  test('beats as it promised is never doubted', async () => {
    const stage = await scene()
    const side = shakeHands(stage)
    for (let beat = 0; beat < 50; beat += 1) {
      stage.clock.advance(seconds(2))
      stage.stream.write(side.frame(encodeMessage({ kind: 'heartbeat', within: seconds(3), wantsAnswer: false })))
    }
    expect([stage.ended, stage.doubtedAt, side.heard]).toEqual([[], [], []])
  })

  test('is slow gets no more gossip than may wait for it, and all of it again when it has caught up', async () => {
    const stage = await scene()
    const side = shakeHands(stage)
    stage.network.cut(here, there)
    const bulk = { kind: 'deltas', channel: 'peers', deltas: [new Uint8Array(100_000)] } as const
    const sent = Array.from({ length: 50 }, () => stage.connection.send(bulk)).filter((isSent) => isSent).length
    expect(sent).toBe(Math.ceil(GOSSIP_BACKLOG_BYTES_MAX / 100_000))
    expect(stage.connection.isReady).toBe(false)
    stage.network.heal(here, there)
    stage.clock.advance(seconds(0.2))
    expect(side.heard.filter(({ kind }) => kind === 'deltas')).toHaveLength(sent)
    expect([stage.connection.isReady, stage.connection.send(bulk)]).toEqual([true, true])
  })
})

describe('who is not proved within five seconds is out', () => {
  test.each([
    { name: 'having said nothing', drip: [] as number[] },
    { name: 'however busily it drips', drip: new Array(50).fill(0.2) },
  ])('$name', async ({ drip }) => {
    const stage = await scene()
    stage.stream.write(Uint8Array.of(0, 0, 3, 0))
    for (const pause of drip) {
      stage.clock.advance(seconds(pause))
      stage.stream.write(Uint8Array.of(1))
    }
    stage.clock.advance(seconds(6))
    expect(stage.ended).toEqual([{ end: { code: 'timeout', reason: 'the handshake did not end in time' }, at: 5 }])
  })
})

test('a frame that is good after the proof is too long before it', async () => {
  const stage = await scene()
  stage.stream.write(Uint8Array.of(0, 0, 4, 1))
  stage.clock.advance(seconds(0.1))
  expect(stage.ended.map(({ end }) => end)).toEqual([{ code: 'frame', reason: 'a frame of 1025 bytes, more than 1024' }])
})
