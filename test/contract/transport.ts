/** What every stream of the mesh must do, however it travels. */
import { createHash } from 'node:crypto'
import { afterEach, describe, expect, test } from 'vitest'
import { formatIp } from '../../mesh/base/ip.ts'
import { formatTarget, type Target } from '../../mesh/endpoint.ts'
import type { Stream } from '../../mesh/transport.ts'
import { dial, type Heard, listener, listenTo, rawServer, transport } from '../support/streams.ts'
import { until } from '../support/until.ts'

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)
/** More than the network holds on its way, and of a size that no limit divides. */
const LONG = 'weft'.repeat(300_001)

/** What a web server says to a request for a WebSocket (RFC 6455, section 4.2.2); nothing to anything else. */
function acceptance(request: string): string {
  const key = /sec-websocket-key: (\S+)/i.exec(request)?.[1]
  const proof = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  const headers = `Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${proof}`
  return key === undefined ? '' : `HTTP/1.1 101 Switching Protocols\r\n${headers}\r\n\r\n`
}

/** @param to how to reach the port of a listener on `host`. */
export function transportContract(name: string, to: (host: string, port: number) => Target): void {
  let cleanup = new AsyncDisposableStack()
  afterEach(async () => {
    await cleanup.disposeAsync()
    cleanup = new AsyncDisposableStack()
  })

  /** A stream from each side, and what each hears. */
  async function pair(
    host = '127.0.0.1',
  ): Promise<{ readonly near: Stream; readonly far: Stream; readonly atNear: Heard; readonly atFar: Heard }> {
    const { port, accepted } = await listener(cleanup, host === '::1' ? '::' : host)
    const dialled = await dial(to(host, port))
    if (!dialled.ok) throw new Error(dialled.error)
    expect(dialled.value.remote.port).toBe(port)
    const { stream, heard } = await until('the stream is accepted', () => accepted[0])
    return { near: dialled.value, far: stream, atNear: listenTo(dialled.value), atFar: heard }
  }

  describe(`a stream over ${name}`, () => {
    test.each(['127.0.0.1', '::1'])(
      'carries bytes in both directions, and a close delivers what was written before it: %s',
      async (host) => {
        const { near, far, atNear, atFar } = await pair(host)
        expect([formatIp(near.remote.address), formatIp(far.remote.address)]).toEqual([host, host])
        far.write(encode('hi'))
        near.write(encode('hello'))
        await until('both have heard', () => (atNear.text === 'hi' && atFar.text === 'hello' ? true : undefined))
        expect(far.via).toBe(near.via)
        near.write(encode(LONG))
        near.write(encode(', goodbye'))
        near.close()
        await until('the far end has heard of the close', () => atFar.closed)
        expect(atFar.text === `hello${LONG}, goodbye`).toBe(true)
        expect([atFar.closed, atNear.closed]).toEqual(['closed by the other side', undefined])
      },
    )

    test('can be closed by the one that accepted', async () => {
      const { near, far, atNear, atFar } = await pair()
      near.write(encode('hello'))
      await until('the far end has heard', () => (atFar.text === 'hello' ? true : undefined))
      far.write(encode('no'))
      far.close()
      expect(await until('the near end has heard of the close', () => atNear.closed)).toBe('closed by the other side')
      expect(atNear.text).toBe('no')
    })

    test('refuses where nobody listens, and finds no name that nobody has', async () => {
      const { port } = await rawServer(cleanup, () => undefined)
      await cleanup.disposeAsync()
      cleanup = new AsyncDisposableStack()
      const target = to('127.0.0.1', port)
      expect(await dial(target)).toMatchObject({ ok: false, error: expect.stringContaining(`${formatTarget(target)}: connection refused`) })
      expect(await dial(to('no-such-host.invalid', 1))).toMatchObject({
        ok: false,
        error: expect.stringMatching(/no such host|does not answer/),
      })
    })

    test('reports nothing when its dial was given up', async () => {
      const { port, accepted } = await listener(cleanup)
      let reports = 0
      const given = transport.dial(to('127.0.0.1', port), () => {
        reports += 1
      })
      given[Symbol.dispose]()
      const other = await dial(to('127.0.0.1', port))
      await until('the other dial is accepted', () => accepted[0])
      expect([reports, other.ok]).toEqual([0, true])
      if (other.ok) other.value.close()
    })

    test('loses its connection, not our memory, when the other side reads nothing', async () => {
      const { port } = await rawServer(cleanup, (socket) => {
        socket.once('data', (bytes) => {
          socket.write(acceptance(bytes.toString()))
          socket.pause()
        })
      })
      const dialled = await dial(to('127.0.0.1', port))
      if (!dialled.ok) throw new Error(dialled.error)
      const [near, heard] = [dialled.value, listenTo(dialled.value)]
      const piece = new Uint8Array(256 * 1024)
      let backlogMax = 0
      await until('the stream ends', () => {
        for (let count = 0; count < 16; count += 1) near.write(piece)
        backlogMax = Math.max(backlogMax, near.backlogBytes)
        return heard.closed
      })
      expect(heard.closed).toContain('wait for the peer to read')
      expect(backlogMax).toBeLessThanOrEqual(8 * 1024 * 1024 + 2 * piece.length)
    })

    test('does not hold up a listener that is closed, whoever forgets it', async () => {
      const { atNear } = await pair()
      await cleanup.disposeAsync()
      cleanup = new AsyncDisposableStack()
      expect(await until('the stream is ended', () => atNear.closed)).toBeDefined()
    })
  })
}
