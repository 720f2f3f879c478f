/** Whole meshes over real TCP: discovery, loss, restarts, and strangers on the port. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { isDeepStrictEqual } from 'node:util'
import { afterEach, describe, expect, test } from 'vitest'
import { parseIpv4 } from '../../../mesh/base/address.ts'
import { millis, type PeerName } from '../../../mesh/base/brand.ts'
import { systemClock } from '../../../mesh/base/clock.ts'
import { formatIp } from '../../../mesh/base/ip.ts'
import { err, ok } from '../../../mesh/base/result.ts'
import { loadCrypto } from '../../../mesh/crypto.ts'
import { formatTarget, type Target, WEB_PATH } from '../../../mesh/endpoint.ts'
import type { GossipPart } from '../../../mesh/gossip.ts'
import type { Mesh } from '../../../mesh/mesh.ts'
import type { MeshOptions } from '../../../mesh/options.ts'
import { keyOf, keyringOf } from '../../support/keyrings.ts'
import { identityOf } from '../../support/mesh-records.ts'
import { connectedTo, startTcpMesh, targetOf } from '../../support/tcp-mesh.ts'
import { until } from '../../support/until.ts'

const crypto = await loadCrypto()
let cleanup = new AsyncDisposableStack()

afterEach(async () => {
  await cleanup.disposeAsync()
  cleanup = new AsyncDisposableStack()
})

async function start(nickname: string, options: Partial<MeshOptions> = {}): Promise<Mesh> {
  return cleanup.use(await startTcpMesh(nickname, options))
}

/** What they know of each other is the same, and of all. */
function agree(meshes: readonly Mesh[]): true | undefined {
  const digests = new Set(meshes.map((mesh) => mesh.status().digests['peers']))
  return digests.size === 1 && meshes.every((mesh) => mesh.peers().length === meshes.length) ? true : undefined
}

function sees(mesh: Mesh, ...nicknames: readonly string[]): true | undefined {
  return connectedTo(mesh).join() === nicknames.join() ? true : undefined
}

/** A stranger's connection; `closed` once the mesh has ended it. */
async function intrude(port: number, from = '127.0.0.1'): Promise<{ readonly socket: Socket; closed: boolean }> {
  const socket = connect({ host: '127.0.0.1', port, localAddress: from })
  const intruder = { socket, closed: false }
  socket.on('error', () => undefined).on('data', () => undefined)
  socket.once('close', () => {
    intruder.closed = true
  })
  cleanup.defer(() => void socket.destroy())
  await new Promise((resolve) => socket.once('connect', resolve))
  return intruder
}

test('three peers that know one address find each other and agree', async () => {
  const a = await start('a')
  const b = await start('b', { targets: [targetOf(a)] })
  const c = await start('c', { targets: [targetOf(a)], zone: 'far', mtuBytes: 1_400 })
  const all = [a, b, c]
  await until('everyone is connected', () => sees(a, 'b', 'c') && sees(b, 'a', 'c') && sees(c, 'a', 'b'))
  await until('everyone agrees', () => agree(all))
  const records = a.peers()
  expect(records.map(({ nickname }) => nickname).sort()).toEqual(['a', 'b', 'c'])
  expect(records.map(({ name }) => name)).toEqual(all.map(({ name }) => name).sort())
  const recordOfC = records.find(({ nickname }) => nickname === 'c')
  expect(recordOfC).toMatchObject({ name: c.name, port: c.port, addresses: [parseIpv4('127.0.0.1')], zone: 'far', mtuBytes: 1_400 })
  await until('records tell of both neighbours', () => (b.peers().every(({ neighbours }) => neighbours.length === 2) ? true : undefined))
  expect(a.status()).toMatchObject({ peers: 3, faults: {}, protocol: { min: 2, max: 2 } })
})

test('peers that dial the port as a web server are peers like all others, and their connections say how they travel', async () => {
  const a = await start('a')
  const target: Target = { scheme: 'ws', ...targetOf(a), path: WEB_PATH }
  const b = await start('b', { targets: [target] })
  await until('they agree', () => sees(a, 'b') && sees(b, 'a') && agree([a, b]))
  const [atA, atB] = [a.connections(), b.connections()]
  expect(atB).toMatchObject([{ address: `ws://127.0.0.1:${a.port}`, outbound: true, state: 'established', nickname: 'a' }])
  expect(atA).toMatchObject([{ address: expect.stringMatching(/^ws:\/\/127\.0\.0\.1:\d+$/), outbound: false, nickname: 'b' }])
  expect([b.status().targets, a.status().faults, b.status().faults]).toEqual([[formatTarget(target)], {}, {}])
})

test('a change is seen everywhere, and told to those who listen once per turn', async () => {
  const a = await start('a')
  const b = await start('b', { targets: [targetOf(a)] })
  await until('they agree', () => agree([a, b]))
  const zones: (string | undefined)[] = []
  using _subscription = a.onChange(() => zones.push(a.peers().find(({ name }) => name === b.name)?.zone))
  b.publish({ zone: 'one' })
  b.publish({ zone: 'two' })
  await until('the change has come', () => (zones.at(-1) === 'two' ? true : undefined))
  expect(zones).not.toContain('one')
})

test('a target is given in any way that leads there, and forgotten', async () => {
  const a = await start('a')
  const b = await start('b')
  const byName = { host: 'localhost', port: a.port }
  b.connect([byName])
  b.connect([targetOf(a)])
  await until('they are connected', () => sees(a, 'b') && sees(b, 'a'))
  expect(b.targets().map(formatTarget)).toEqual([`localhost:${a.port}`, `127.0.0.1:${a.port}`])
  b.forget([byName, { host: 'unknown', port: 1 }])
  expect(b.targets()).toEqual([targetOf(a)])
  b.connect([], { replace: true })
  expect(b.targets()).toEqual([])
  expect(connectedTo(b)).toEqual(['a'])
})

describe('what cannot be reached is told in Weave Net\u2019s words', () => {
  test('a refused target fails, with the reason and the next try; a forgotten one is told no more', async () => {
    const gone = await startTcpMesh('gone')
    const target = targetOf(gone)
    await gone[Symbol.asyncDispose]()
    const a = await start('a', { targets: [target] })
    const failed = await until('the dial has failed', () => a.connections().find(({ state }) => state === 'failed'))
    expect(failed).toEqual({
      address: formatTarget(target),
      outbound: true,
      state: 'failed',
      reason: `dial tcp ${formatTarget(target)}: connection refused`,
      retryAt: expect.any(Number),
    })
    a.forget([target])
    expect(a.connections()).toEqual([])
  })

  test('ourselves as a target: never again', async () => {
    const a = await start('a')
    a.connect([targetOf(a)])
    const failed = await until('the dial has failed', () => a.connections().find(({ state }) => state === 'failed'))
    expect(failed).toMatchObject({ reason: 'cannot connect to ourself', retryAt: 'never' })
    expect(a.status().faults).toEqual({})
  })

  test('a peer of another cluster: named at both ends', async () => {
    const a = await start('a', { cluster: 'other' })
    const b = await start('b', { targets: [targetOf(a)] })
    const failed = await until('the dial has failed', () => b.connections().find(({ state }) => state === 'failed'))
    expect(failed).toMatchObject({ reason: 'belongs to another cluster: give both the same --cluster' })
    await until('a has counted it', () => a.status().faults.handshake)
  })

  test('a peer with another secret: named at both ends', async () => {
    const a = await start('a', { keyring: keyringOf(2, crypto) })
    const b = await start('b', { targets: [targetOf(a)] })
    const failed = await until('the dial has failed', () => b.connections().find(({ state }) => state === 'failed'))
    const [its, own] = [keyOf(2, crypto).id, keyOf(1, crypto).id]
    expect(failed).toMatchObject({
      reason: `has another cluster secret (its key id is ${its}, ours ${own}): give both the same secret, see \`weft keys show-id\``,
    })
    await until('a has counted it', () => a.status().faults.handshake)
  })

  test('another process with our identity: a collision of names, and the copy is told to give in, once', async () => {
    const identity = identityOf(7, crypto)
    const told: string[] = []
    const a = await start('a', { identity, hadPods: true, yields: () => told.push('a') })
    const clone = await start('clone', { identity, targets: [targetOf(a)], yields: (to) => told.push(`clone ${formatIp(to)}`) })
    const failed = await until('the dial has failed', () => clone.connections().find(({ state }) => state === 'failed'))
    expect(failed).toMatchObject({
      reason: 'peer name collision: another process runs with our identity key, and it is the original: this node takes a new name',
    })
    expect(await until('both have counted it', () => a.status().faults.collision)).toBeGreaterThan(0)
    expect(told).toEqual(['clone 127.0.0.1'])
  })
})

test('a peer with two keys offers the second one to whom the first says nothing', async () => {
  const a = await start('a', { keyring: keyringOf(1, crypto) })
  const b = await start('b', { keyring: keyringOf(2, crypto, 1), targets: [targetOf(a)] })
  await until('they are connected', () => sees(a, 'b') && sees(b, 'a'))
})

test('nothing that peers tell each other can be read on the wire', async () => {
  const a = await start('a-nickname-to-look-for')
  const heard: Buffer[] = []
  const proxy = createServer((socket) => {
    const onward = connect({ host: '127.0.0.1', port: a.port })
    for (const [from, to] of [
      [socket, onward],
      [onward, socket],
    ] as const) {
      from.on('error', () => undefined).on('data', (piece) => heard.push(Buffer.from(piece)))
      from.pipe(to)
    }
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  cleanup.defer(() => void proxy.close())
  const { port } = proxy.address() as AddressInfo
  const b = await start('b', { targets: [{ host: '127.0.0.1', port }], zone: 'a-zone-to-look-for' })
  await until('they agree', () => sees(b, 'a-nickname-to-look-for') && agree([a, b]))
  const wire = Buffer.concat(heard)
  expect(wire.length).toBeGreaterThan(1_000)
  for (const text of ['to-look-for', 'peers']) expect(wire.includes(text)).toBe(false)
  for (const { publicKey } of a.peers()) expect(wire.includes(publicKey)).toBe(false)
})

test('two peers that dial each other at once end with one connection, which both call by the same ends', async () => {
  for (let round = 0; round < 10; round += 1) {
    const [a, b] = await Promise.all([startTcpMesh('a'), startTcpMesh('b')])
    a.connect([targetOf(b)])
    b.connect([targetOf(a)])
    const isSettled = () =>
      sees(a, 'b') && sees(b, 'a') && a.connections().length === 1 && b.connections().length === 1 ? true : undefined
    await until('one connection each', isSettled)
    await until('they agree', () => agree([a, b]))
    expect(isSettled()).toBe(true)
    expect(a.connections()[0]?.outbound).toBe(!b.connections()[0]?.outbound)
    expect([a.status().faults, b.status().faults]).toEqual([{}, {}])
    await Promise.all([a[Symbol.asyncDispose](), b[Symbol.asyncDispose]()])
  }
})

test('a peer that comes back with its identity is a newer incarnation of the same, and connected again', async () => {
  const identity = identityOf(8, crypto)
  const a = await start('a')
  const before = await startTcpMesh('b', { identity, targets: [targetOf(a)] })
  await until('they agree', () => agree([a, before]))
  const first = a.peers().find(({ name }) => name === before.name)
  const port = before.port
  await before[Symbol.asyncDispose]()
  await until('a has noticed', () => sees(a))
  // Its clock may have gone back meanwhile: what others remember of it counts for more.
  const clock = { ...systemClock, wallTime: () => millis(1_000) }
  const after = await start('b again', { identity, clock, listen: { host: '127.0.0.1', port }, targets: [targetOf(a)] })
  await until('they are connected again', () => sees(a, 'b again') && agree([a, after]))
  const second = a.peers().find(({ name }) => name === identity.name)
  expect(second?.incarnation).toBe((first?.incarnation ?? 0) + 1)
  expect(after.status().supersessions).toBe(1)
})

test('a peer that leaves says so, and one that is there is alive, in the view of all', async () => {
  const a = await start('a')
  const b = await start('b', { targets: [targetOf(a)] })
  const c = await startTcpMesh('c', { targets: [targetOf(a)] })
  const liveness = (name: PeerName): string => [a, b].map((mesh) => mesh.livenessOf(name)).join()
  await until('both see it alive', () => (liveness(c.name) === 'alive,alive' ? true : undefined))
  await c[Symbol.asyncDispose]()
  await until('both know that it has left', () => (liveness(c.name) === 'left,left' ? true : undefined))
  expect(a.peers().find(({ name }) => name === c.name)).toMatchObject({ nickname: 'c', hasLeft: true })
  expect(liveness(b.name)).toBe('alive,alive')
  expect(a.connections()).toHaveLength(1)
})

test('what it knew in an earlier life is enough to find the others again', async () => {
  const a = await start('a')
  const b = await startTcpMesh('b', { targets: [targetOf(a)] })
  await until('they agree', () => agree([a, b]))
  const known = b.records()
  await b[Symbol.asyncDispose]()
  const again = await start('b again', { known: [...known, new Uint8Array(3)] })
  await until('they are connected', () => sees(a, 'b again') && sees(again, 'a'))
  expect(again.status().faults).toEqual({ malformed: 1 })
})

/** Numbers that peers have said. */
class Numbers implements GossipPart {
  readonly channel = 'numbers'
  readonly held = new Set<number>()
  readonly received: string[] = []
  digest(): Uint8Array {
    return Uint8Array.from({ length: 16 }, (_, index) => (this.held.has(index) ? 1 : 0))
  }
  summary(): Uint8Array {
    return this.digest()
  }
  missing(summary: Uint8Array): ReturnType<GossipPart['missing']> {
    const lacking = [...this.held].filter((number) => summary[number] === 0)
    return ok(lacking.map((number) => ({ key: undefined, delta: Uint8Array.of(number) })))
  }
  merge(delta: Uint8Array): ReturnType<GossipPart['merge']> {
    const [number] = delta
    if (number === undefined) return err({ code: 'malformed', detail: 'nothing said' })
    const isNews = !this.held.has(number)
    for (const one of delta) this.held.add(one)
    return ok({ news: isNews ? [{ key: undefined, delta }] : [], held: [], faults: [] })
  }
  receive(message: Uint8Array, from: string): void {
    this.received.push(`${from} ${message.join()}`)
  }
}

test('other parts ride along: what was said before they met, what is said later, and messages to one peer', async () => {
  const [a, b] = [await start('a'), await start('b')]
  const [atA, atB] = [new Numbers(), new Numbers()]
  const [portOfA, portOfB] = [a.register(atA), b.register(atB)]
  expect(portOfA.send(b.name, Uint8Array.of(1))).toBe(false)
  atA.held.add(1)
  atB.held.add(2)
  b.connect([targetOf(a)])
  await until('both know both', () => (atA.held.size === 2 && atB.held.size === 2 ? true : undefined))
  atB.held.add(3)
  portOfB.broadcast(Uint8Array.of(3))
  await until('a has heard', () => (atA.held.has(3) ? true : undefined))
  expect(portOfA.reachable()).toEqual([b.name])
  expect(portOfA.send(b.name, Uint8Array.of(4, 5))).toBe(true)
  expect(await until('b has heard', () => atB.received[0])).toBe(`${a.name} 4,5`)
})

describe('strangers on the port', () => {
  async function friends(): Promise<{ readonly a: Mesh; readonly isUntouched: () => boolean }> {
    const a = await start('a')
    const b = await start('b', { targets: [targetOf(a)] })
    await until('the friends agree', () => sees(a, 'b') && sees(b, 'a') && agree([a, b]))
    const connection = a.connections()[0]
    // The same connection still: its address and its beginning have not changed.
    const isUntouched = () => a.connections().some((now) => isDeepStrictEqual(now, connection)) && connectedTo(b).includes('a')
    return { a, isUntouched }
  }

  test.each([
    { name: 'garbage', bytes: new Uint8Array(5_000).fill(0xab), fault: 'frame' },
    { name: 'an oversized frame', bytes: Uint8Array.of(0, 0, 4, 1), fault: 'frame' },
    { name: 'an empty frame', bytes: Uint8Array.of(0, 0, 0, 0), fault: 'frame' },
    { name: 'a frame that is no hello', bytes: Uint8Array.of(0, 0, 0, 2, 1, 2), fault: 'handshake' },
    { name: 'TLS', bytes: Uint8Array.of(0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3), fault: 'frame' },
  ] as const)('$name ends that connection, is counted, and touches nobody else', async ({ bytes, fault }) => {
    const { a, isUntouched } = await friends()
    const intruder = await intrude(a.port)
    intruder.socket.write(bytes)
    await until('the stranger is thrown out', () => (intruder.closed ? true : undefined))
    expect(a.status().faults).toEqual({ [fault]: 1 })
    expect(isUntouched()).toBe(true)
  })

  test('a crowd that says nothing holds a bounded number of places for a bounded time, and friends still come in', async () => {
    const { a, isUntouched } = await friends()
    const crowd = await Promise.all(Array.from({ length: 100 }, () => intrude(a.port, '127.0.0.66')))
    const count = await until('most are turned away', () => (a.status().faults.admission === 92 ? 92 : undefined))
    expect(count).toBe(92)
    expect(a.connections().filter(({ state }) => state === 'pending')).toHaveLength(8)
    const c = await start('c', { targets: [targetOf(a)] })
    await until('another friend comes in', () => sees(a, 'b', 'c') && sees(c, 'a', 'b'))
    await until('the deadline has ended the rest', () => (crowd.every(({ closed }) => closed) ? true : undefined))
    expect(a.status().faults).toEqual({ admission: 92, timeout: 8 })
    expect(isUntouched()).toBe(true)
    expect(sees(a, 'b', 'c')).toBe(true)
  })
})

test.each([
  { name: 'a nickname of nothing', options: { nickname: '' } },
  { name: 'an MTU of 100', options: { mtuBytes: 100 } },
  { name: 'nine addresses', options: { addresses: new Array(9).fill(parseIpv4('127.0.0.1')) } },
  { name: 'a zone that moves the cursor', options: { zone: '\u001b[2J' } },
])('$name is refused at the start', async ({ options }) => {
  await expect(startTcpMesh('a', options)).rejects.toMatchObject({ code: 'USAGE' })
})
