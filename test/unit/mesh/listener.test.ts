/** The port: what it says when it cannot listen, and what it does with those who speak no mesh. */
import { afterEach, describe, expect, test } from 'vitest'
import { listener, rawServer, transport } from '../../support/streams.ts'
import { connectTo, type Talk } from '../../support/talk.ts'
import { until } from '../../support/until.ts'

let cleanup = new AsyncDisposableStack()
afterEach(async () => {
  await cleanup.disposeAsync()
  cleanup = new AsyncDisposableStack()
})

test('a port in use is a conflict that says so', async () => {
  const { port } = await rawServer(cleanup, () => undefined)
  await expect(transport.listen({ host: '127.0.0.1', port }, () => undefined)).rejects.toMatchObject({
    code: 'CONFLICT',
    message: `cannot listen on 127.0.0.1:${port}`,
  })
})

/** Says `text` to a new listener. */
async function say(text: string | Uint8Array): Promise<Talk & { readonly closed: () => string | undefined }> {
  const { port, accepted } = await listener(cleanup)
  const talk = cleanup.use(await connectTo(port))
  const { heard } = await until('the stream is accepted', () => accepted[0])
  talk.socket.write(text)
  return { ...talk, closed: () => heard.closed }
}

const UPGRADE = 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'

describe('HTTP on the port', () => {
  test.each([
    { name: 'of another path', request: 'GET / HTTP/1.1\r\nHost: a\r\n\r\n', status: '404 Not Found' },
    { name: 'of another path, for a WebSocket', request: `GET /weft/x HTTP/1.1\r\nHost: a\r\n${UPGRADE}\r\n`, status: '404 Not Found' },
    { name: 'that wants no WebSocket', request: 'GET /weft HTTP/1.1\r\nHost: a\r\n\r\n', status: '426 Upgrade Required' },
    { name: 'of another method', request: 'POST /other HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n', status: '404 Not Found' },
    {
      name: 'with a key that is none',
      request: `GET /weft HTTP/1.1\r\nHost: a\r\n${UPGRADE.replace('dGh', '')}\r\n`,
      status: '400 Bad Request',
    },
    { name: 'that is not HTTP after all', request: 'GET nothing at all\r\n\r\n', status: '400 Bad Request' },
    {
      name: 'with more headers than anybody needs',
      request: `GET /weft HTTP/1.1\r\nX: ${'x'.repeat(16_000)}\r\n\r\n`,
      status: '431 Request Header Fields Too Large',
    },
  ])('$name is answered $status, and ended', async ({ request, status }) => {
    const talk = await say(request)
    await until('the connection ends', () => (talk.isClosed() ? true : undefined))
    expect(talk.heard().toString().split('\r\n')[0]).toBe(`HTTP/1.1 ${status}`)
    expect(await until('the stream has ended', talk.closed)).toBe('it spoke HTTP, and asked for no WebSocket of the mesh')
  })

  test('is answered with one plain line', async () => {
    const talk = await say('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await until('the connection ends', () => (talk.isClosed() ? true : undefined))
    expect(talk.heard().toString()).toMatch(/\r\ncontent-type: text\/plain\r\n/)
    expect(talk.heard().toString()).toContain('Not Found: this is the port of a Weft mesh\n')
  })

  test('may come byte by byte, and a question mark may follow the path', async () => {
    const talk = await say('G')
    for (const letter of `ET /weft?from=proxy HTTP/1.1\r\nHost: a\r\n${UPGRADE}\r\n`) talk.socket.write(letter)
    await until('it is upgraded', () => (talk.heard().toString().includes('101 Switching Protocols') ? true : undefined))
    expect(talk.heard().toString()).toContain('Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=')
  })

  test.each([
    { name: 'text', frame: Uint8Array.of(0x81, 0x81, 0, 0, 0, 0, 0x61), reason: 'it sent text, and the mesh speaks none' },
    { name: 'a message beyond the limit', frame: Uint8Array.of(0x82, 0xfe, 0xff, 0xff, 0, 0, 0, 0), reason: 'Max payload size exceeded' },
    { name: 'a frame without a mask', frame: Uint8Array.of(0x82, 0x01, 0x61), reason: 'Invalid WebSocket frame: MASK must be set' },
    {
      name: 'a compressed frame',
      frame: Uint8Array.of(0xc2, 0x81, 0, 0, 0, 0, 0x61),
      reason: 'Invalid WebSocket frame: RSV1 must be clear',
    },
  ])('a WebSocket that sends $name is ended', async ({ frame, reason }) => {
    const talk = await say(`GET /weft HTTP/1.1\r\nHost: a\r\n${UPGRADE}\r\n`)
    await until('it is upgraded', () => (talk.heard().toString().includes('101 Switching Protocols') ? true : undefined))
    talk.socket.write(frame)
    expect(await until('the stream has ended', talk.closed)).toBe(reason)
    await until('the connection ends', () => (talk.isClosed() ? true : undefined))
  })
})
