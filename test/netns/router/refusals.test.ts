/** Routers that must not join, each named in the log and in `weft status connections` of a real router, in words to act on. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { loadCrypto } from '../../../mesh/crypto.ts'
import { encodeFrame } from '../../../mesh/framing.ts'
import { createSecretFile } from '../../../mesh/secret-file.ts'
import { keyOf, keyringOf } from '../../support/keyrings.ts'
import { makeNetns, type Netns } from '../../support/netns.ts'
import { joinUnderlays, makeRouter, type TestRouter } from '../../support/router.ts'
import { until } from '../../support/until.ts'

const SEED = ['--ipam-init', 'seed=self']

/** The line of `weft status connections` that tells of `address`, once it tells why. */
function rowOf(router: TestRouter, address: string): Promise<string> {
  return until('the connection is told of', async () => {
    const lines = (await router.weft('status', 'connections')).stdout.split('\n')
    return lines.find((line) => line.includes(address) && line.includes('failed'))
  })
}

test('a router with another secret: both ends name both keys, and what to do', async () => {
  await using hub = await makeNetns()
  await using a = await makeRouter('192.0.2.1')
  await using b = await makeRouter('192.0.2.2')
  await joinUnderlays(hub, [a, b])
  const crypto = await loadCrypto()
  await createSecretFile(join(b.directory, 'other', 'secret'), keyringOf(2, crypto)(), crypto)
  const atA = a.start(...SEED, '--nickname', 'a')
  await a.ready()
  const atB = b.start(...SEED, '--nickname', 'b', '--secret-file', join(b.directory, 'other', 'secret'), '192.0.2.1')
  const [ours, theirs] = [keyOf(1, crypto).id, keyOf(2, crypto).id]
  const row = await rowOf(b, '192.0.2.1:6783')
  expect(row).toContain(`has another cluster secret (its key id is ${ours}, ours ${theirs}): give both the same secret`)
  await until('both logs tell', () =>
    Promise.resolve(
      (atA.log().includes(`its key id is ${theirs}, ours ${ours}`) && atB.log().includes(`its key id is ${ours}, ours ${theirs}`)) ||
        undefined,
    ),
  )
  expect((await a.snapshot()).router.peers).toHaveLength(1)
})

/** Accepts on the mesh's port in this namespace, and says to whoever comes that it speaks version 1 only. */
function oldRouter(ns: Netns): Disposable {
  const refusal = Buffer.from(encodeFrame(Uint8Array.of(1, 1, 0, 1, 0, 1, 0, 0, 0, 0))).toString('hex')
  const script = `require('node:net').createServer((socket) => {
    socket.on('error', () => undefined).once('data', () => socket.end(Buffer.from('${refusal}', 'hex')))
  }).listen(6783, '0.0.0.0')`
  const child = spawn('nsenter', [`--net=${ns.path}`, '--', process.execPath, '-e', script], { stdio: 'ignore' })
  return { [Symbol.dispose]: () => void child.kill('SIGKILL') }
}

test('a router of a version that ours does not speak: both versions are named, and what to do', async () => {
  await using hub = await makeNetns()
  await using a = await makeRouter('192.0.2.1')
  await using b = await makeRouter('192.0.2.2')
  await joinUnderlays(hub, [a, b])
  using _ = oldRouter(b.ns)
  const running = a.start(...SEED, '192.0.2.2')
  const words = 'speaks version 1 of the protocol, we version 2: upgrade the older one'
  expect(await rowOf(a, '192.0.2.2:6783')).toContain(words)
  expect(running.log()).toContain(words)
})
