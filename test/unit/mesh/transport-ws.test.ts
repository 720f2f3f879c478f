/** What web servers answer to those who dial them, in words. */
import { afterEach, expect, test } from 'vitest'
import { dial, rawServer } from '../../support/streams.ts'

let cleanup = new AsyncDisposableStack()
afterEach(async () => {
  await cleanup.disposeAsync()
  cleanup = new AsyncDisposableStack()
})

test.each([
  {
    name: 'an error',
    answer: 'HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n',
    words: '127.0.0.1 answered 502 Bad Gateway: is a Weft router behind that path?',
  },
  {
    name: 'a page',
    answer: 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi',
    words: '127.0.0.1 answered 200 OK: is a Weft router behind that path?',
  },
  {
    name: 'another place to go',
    answer: 'HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1/\r\n\r\n',
    words: '127.0.0.1 answered 301 Moved: is a Weft router behind that path?',
  },
  {
    name: 'a wrong proof',
    answer: 'HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n',
    words: 'Invalid Sec-WebSocket-Accept header',
  },
  { name: 'something else', answer: 'SSH-2.0-OpenSSH_9.2\r\n', words: '127.0.0.1 does not answer as a web server does' },
])('$name', async ({ answer, words }) => {
  const { port } = await rawServer(cleanup, (socket) => socket.once('data', () => socket.write(answer)))
  expect(await dial({ scheme: 'ws', host: '127.0.0.1', port, path: '/weft' })).toEqual({
    ok: false,
    error: `dial ws://127.0.0.1:${port}/weft: ${words}`,
  })
})

test('a server that speaks no TLS', async () => {
  const { port } = await rawServer(cleanup, (socket) => socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')))
  expect(await dial({ scheme: 'wss', host: '127.0.0.1', port, path: '/weft' })).toEqual({
    ok: false,
    error: `dial wss://127.0.0.1:${port}/weft: 127.0.0.1 speaks no TLS there: should it be ws:// instead of wss://?`,
  })
})
