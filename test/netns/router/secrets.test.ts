/** The secret of the cluster, in a real router: needed, told of by its id, and shown nowhere. */
import { chmod, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { toHex } from '../../../mesh/base/bytes.ts'
import { loadCrypto } from '../../../mesh/crypto.ts'
import { keyOf } from '../../support/keyrings.ts'
import { makeRouter } from '../../support/router.ts'

const SEED = ['--ipam-init', 'seed=self']

test('a router shows its secret nowhere', async () => {
  await using router = await makeRouter()
  const crypto = await loadCrypto()
  const running = router.start(...SEED, '--log-level', 'debug')
  await router.ready()
  const { id, secret, psk } = keyOf(1, crypto)
  const status = (await router.weft('status')).stdout
  expect(status).toContain(`Encryption: enabled between routers (key ${id})`)
  const identity = await readFile(join(router.stateDirectory, 'identity.key'), 'utf8')
  const [, , seed = ''] = identity.trim().split(' ')
  const pid = running.child.pid
  const seen = [
    running.log(),
    status,
    (await router.weft('report')).stdout,
    await readFile(`/proc/${pid}/cmdline`, 'latin1'),
    await readFile(`/proc/${pid}/environ`, 'latin1'),
    await readFile(join(router.stateDirectory, 'peers.json'), 'utf8').catch(() => ''),
  ].join('\n')
  expect(seed).toHaveLength(64)
  for (const hidden of [
    seed,
    ...[secret, psk].flatMap((bytes) => [toHex(bytes), Buffer.from(bytes).toString('base64'), bytes.join(',')]),
  ]) {
    expect(seen).not.toContain(hidden)
  }
})

test('a router without a secret does not start, and says how to get one', async () => {
  await using router = await makeRouter()
  await rm(join(router.stateDirectory, 'secret'))
  const running = router.start(...SEED)
  expect(await running.ended).toBe(2)
  expect(running.log()).toContain('there is no secret of the cluster')
  expect(running.log()).toContain('weft keys generate')
})

test('a router that is told to be open starts without a secret, and says what that means', async () => {
  await using router = await makeRouter()
  await rm(join(router.stateDirectory, 'secret'))
  const running = router.start(...SEED, '--open')
  await router.ready()
  expect((await router.weft('status')).stdout).toContain('Encryption: enabled between routers, but open: anybody may join')
  expect(running.log()).toContain('the cluster is open')
})

test('a router does not start with a secret that others can read', async () => {
  await using router = await makeRouter()
  await chmod(join(router.stateDirectory, 'secret'), 0o640)
  const running = router.start(...SEED)
  expect(await running.ended).toBe(1)
  expect(running.log()).toContain('is open to others (mode 0640)')
})
