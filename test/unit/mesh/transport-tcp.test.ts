/** What only plain TCP does. */
import { lookup } from 'node:dns/promises'
import { afterEach, expect, test } from 'vitest'
import { dial, listenTo, rawServer } from '../../support/streams.ts'
import { until } from '../../support/until.ts'

let cleanup = new AsyncDisposableStack()
afterEach(async () => {
  await cleanup.disposeAsync()
  cleanup = new AsyncDisposableStack()
})

test('a reset is told with its reason', async () => {
  const { port } = await rawServer(cleanup, (socket) => socket.resetAndDestroy())
  const dialled = await dial({ host: '127.0.0.1', port })
  if (!dialled.ok) {
    expect(dialled.error).toContain('reset')
    return
  }
  const heard = listenTo(dialled.value)
  expect(await until('the stream ends', () => heard.closed)).toBe('connection reset by peer')
})

test('a name is tried at all its addresses; when none answers, the reason names each', async () => {
  const { port } = await rawServer(cleanup, () => undefined)
  expect(await dial({ host: 'localhost', port })).toMatchObject({ ok: true })
  await cleanup.disposeAsync()
  cleanup = new AsyncDisposableStack()
  const addresses = (await lookup('localhost', { all: true })).map(({ address }) => address)
  const failures = addresses.map((address) => (addresses.length > 1 ? `${address}: connection refused` : 'connection refused'))
  expect(await dial({ host: 'localhost', port })).toMatchObject({ ok: false, error: expect.stringContaining(failures.join('; ')) })
})
