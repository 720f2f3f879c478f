/** Two real routers, one of which loses what it gave to the other: no address is given twice, and a person can go on without a peer. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { encodeHeader, encodeRecords, scanJournal } from '../../../ipam/journal.ts'
import { seconds } from '../../../mesh/base/brand.ts'
import { makeNetns } from '../../support/netns.ts'
import { joinUnderlays, makeRouter, type TestRouter } from '../../support/router.ts'
import { until } from '../../support/until.ts'

/** Flips a bit of the first record of the journal that tells of `owner`. */
async function forget(router: TestRouter, owner: string): Promise<void> {
  const path = join(router.stateDirectory, 'ipam', 'ipam.journal')
  const bytes = await readFile(path)
  const { head, records } = scanJournal(bytes)
  if (head.kind !== 'known') throw new Error('not a journal')
  const at = records.findIndex((record) => record.kind === 'ring' && record.delta.items.some((item) => item.owner === owner))
  if (at < 0) throw new Error(`${owner} is not in the journal`)
  const start = encodeHeader(head.header).length + encodeRecords(records.slice(0, at)).length
  bytes[start + 20] = (bytes[start + 20] ?? 0) ^ 1
  await writeFile(path, bytes)
}

const addressOf = ({ answer }: Awaited<ReturnType<TestRouter['cni']>>): string => answer?.ips?.[0]?.address ?? ''

test('a router that has lost a grant hears of it before it gives out anything; without its peer a person decides', {
  timeout: 90_000,
}, async () => {
  await using hub = await makeNetns()
  await using a = await makeRouter('192.0.2.1')
  await using b = await makeRouter('192.0.2.2')
  await using pod = await makeNetns()
  await joinUnderlays(hub, [a, b])
  const firstA = a.start('--ipam-init', 'seed=self')
  await a.ready()
  const firstB = b.start('192.0.2.1')
  const { router } = await b.ready()
  // The record of b is in the file of known peers within a second or so.
  await until('a knows b', async () =>
    (await readFile(join(a.stateDirectory, 'peers.json'), 'utf8').catch(() => '')).split(',').length > 2 ? true : undefined,
  )
  const given = (await b.snapshot()).ipam.owners.find(({ name }) => name === router.name)?.addresses
  firstA.child.kill('SIGKILL')
  await firstA.ended
  await forget(a, router.name)
  const secondA = a.start('--ipam-init', 'seed=self')
  const back = await a.ready()
  expect(secondA.log()).toContain('damaged')
  expect(back.ipam.owners.find(({ name }) => name === router.name)?.addresses).toBe(given)
  expect(back.ipam.doubt).toBeUndefined()

  for (const { child, ended } of [secondA, firstB]) {
    child.kill('SIGKILL')
    await ended
  }
  await forget(a, router.name)
  a.start('--ipam-init', 'seed=self')
  const early = await until('it answers', () => a.snapshot().catch(() => undefined))
  expect([early.ready, early.ipam.doubt]).toEqual([false, expect.stringContaining(router.name)])
  const refused = await a.cni('ADD', pod, 'c1')
  expect(refused).toMatchObject({ status: 1, answer: { code: 11, msg: expect.stringContaining(`until it has heard from ${router.name}`) } })
  expect((await a.weft('status')).stdout).toContain('Lost: some of this node')
  expect(await a.weft('ipam', 'check')).toMatchObject({ status: 1, stdout: expect.stringContaining('journal is lost') })
  expect(await a.weft('ipam', 'recover')).toMatchObject({ status: 0, stdout: `goes on without ${router.name}\n` })
  await until('it is ready', async () => ((await a.snapshot()).ready ? true : undefined), seconds(5))
  expect(addressOf(await a.cni('ADD', pod, 'c1'))).toMatch(/^10\./)
})
