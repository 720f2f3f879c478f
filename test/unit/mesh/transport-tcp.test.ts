/** Streams over real TCP on loopback. */
import { lookup } from 'node:dns/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../../mesh/base/clock.ts'
import { formatIp } from '../../../mesh/base/ip.ts'
import { silentLog } from '../../../mesh/base/log.ts'
import type { Result } from '../../../mesh/base/result.ts'
import type { Stream } from '../../../mesh/transport.ts'
import { tcpTransport } from '../../../mesh/transport-tcp.ts'
import { until } from '../../support/until.ts'

const transport = tcpTransport({ clock: systemClock, log: silentLog })
let cleanup = new AsyncDisposableStack()

afterEach(async () => {
  await cleanup.disposeAsync()
  cleanup = new AsyncDisposableStack()
})

interface Heard {
  text: string
  closed: string | undefined
}

function listenTo(stream: Stream): Heard {
  const heard: Heard = { text: '', closed: undefined }
  stream.start({
    received: (bytes) => {
      heard.text += new TextDecoder().decode(bytes)
    },
    closed: (reason) => {
      heard.closed = reason
    },
  })
  return heard
}

function dial(host: string, port: number): Promise<Result<Stream, string>> {
  return new Promise((resolve) => {
    transport.dial({ host, port }, resolve)
  })
}

/** A stream from each side. */
async function pair(): Promise<{ readonly near: Stream; readonly far: Stream }> {
  const accepted: Stream[] = []
  const listener = cleanup.use(await transport.listen({ host: '127.0.0.1', port: 0 }, (stream) => accepted.push(stream)))
  const dialled = await dial('localhost', listener.port)
  if (!dialled.ok) throw new Error(dialled.error)
  const far = await until('the stream is accepted', () => accepted[0])
  expect(formatIp(far.remote.address)).toBe('127.0.0.1')
  expect(dialled.value.remote.port).toBe(listener.port)
  return { near: dialled.value, far }
}

/** A server that accepts and does as told. */
async function rawServer(onSocket: (socket: Socket) => void): Promise<{ readonly port: number; readonly sockets: readonly Socket[] }> {
  const sockets: Socket[] = []
  const server: Server = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => undefined)
    onSocket(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanup.defer(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const address = server.address()
  return { port: typeof address === 'object' && address !== null ? address.port : 0, sockets }
}

test('bytes pass in both directions, and a close delivers what was written before it', async () => {
  const { near, far } = await pair()
  const [atNear, atFar] = [listenTo(near), listenTo(far)]
  near.write(new TextEncoder().encode('hello'))
  far.write(new TextEncoder().encode('hi'))
  await until('both have heard', () => (atNear.text === 'hi' && atFar.text === 'hello' ? true : undefined))
  near.write(new TextEncoder().encode(', goodbye'))
  near.close()
  await until('the far end has heard of the close', () => atFar.closed)
  expect(atFar).toEqual({ text: 'hello, goodbye', closed: 'closed by the other side' })
  expect(atNear.closed).toBeUndefined()
})

test('a reset is told with its reason', async () => {
  const { port } = await rawServer((socket) => socket.resetAndDestroy())
  const dialled = await dial('127.0.0.1', port)
  if (!dialled.ok) {
    expect(dialled.error).toContain('reset')
    return
  }
  const heard = listenTo(dialled.value)
  expect(await until('the stream ends', () => heard.closed)).toBe('connection reset by peer')
})

test('a port that nobody listens on refuses, and a name that nobody has is not found', async () => {
  const { port } = await rawServer(() => undefined)
  await cleanup.disposeAsync()
  cleanup = new AsyncDisposableStack()
  expect(await dial('127.0.0.1', port)).toEqual({ ok: false, error: `dial tcp 127.0.0.1:${port}: connection refused` })
  expect(await dial('no-such-host.invalid', 1)).toMatchObject({ ok: false, error: expect.stringMatching(/no such host|does not answer/) })
})

test('a dial that was given up reports nothing', async () => {
  const { port, sockets } = await rawServer(() => undefined)
  let reports = 0
  const given = transport.dial({ host: '127.0.0.1', port }, () => {
    reports += 1
  })
  given[Symbol.dispose]()
  const other = await dial('127.0.0.1', port)
  await until('the other dial is accepted', () => (sockets.length > 0 ? true : undefined))
  expect(reports).toBe(0)
  if (other.ok) other.value.close()
})

test('a port in use is a conflict that says so', async () => {
  const { port } = await rawServer(() => undefined)
  await expect(transport.listen({ host: '127.0.0.1', port }, () => undefined)).rejects.toMatchObject({
    code: 'CONFLICT',
    message: `cannot listen on 127.0.0.1:${port}`,
  })
})

test('a peer that reads nothing loses its connection, not our memory', async () => {
  const { port } = await rawServer((socket) => socket.pause())
  const dialled = await dial('127.0.0.1', port)
  if (!dialled.ok) throw new Error(dialled.error)
  const heard = listenTo(dialled.value)
  const piece = new Uint8Array(256 * 1024)
  let backlogMax = 0
  await until('the stream ends', () => {
    for (let count = 0; count < 16; count += 1) dialled.value.write(piece)
    backlogMax = Math.max(backlogMax, dialled.value.backlogBytes)
    return heard.closed
  })
  expect(heard.closed).toContain('wait for the peer to read')
  expect(backlogMax).toBeLessThanOrEqual(8 * 1024 * 1024 + piece.length)
})

test('a listener that is closed waits for no stream that nobody closes', async () => {
  const { near, far } = await pair()
  const heard = listenTo(near)
  listenTo(far)
  await cleanup.disposeAsync()
  cleanup = new AsyncDisposableStack()
  expect(await until('the stream is ended', () => heard.closed)).toBeDefined()
})

describe('both families', () => {
  test.each([
    { host: '127.0.0.1', seen: '127.0.0.1' },
    { host: '::1', seen: '::1' },
  ])('a listener on :: is reached at $host', async ({ host, seen }) => {
    const accepted: Stream[] = []
    const listener = cleanup.use(await transport.listen({ host: '::', port: 0 }, (stream) => accepted.push(stream)))
    const dialled = await dial(host, listener.port)
    if (!dialled.ok) throw new Error(dialled.error)
    const far = await until('the stream is accepted', () => accepted[0])
    expect([formatIp(far.remote.address), formatIp(dialled.value.remote.address)]).toEqual([seen, seen])
  })

  test('a name with two addresses is reached at either; when at none, the reason names both', async () => {
    const { port } = await rawServer(() => undefined)
    const dialled = await dial('localhost', port)
    if (!dialled.ok) throw new Error(dialled.error)
    expect(formatIp(dialled.value.remote.address)).toBe('127.0.0.1')
    await cleanup.disposeAsync()
    cleanup = new AsyncDisposableStack()
    const failed = await dial('localhost', port)
    const addresses = (await lookup('localhost', { all: true })).map(({ address }) => address)
    for (const address of addresses)
      expect(failed).toMatchObject({
        ok: false,
        error: expect.stringContaining(`${addresses.length > 1 ? `${address}: ` : ''}connection refused`),
      })
  })
})
