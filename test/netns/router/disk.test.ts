/** A real router whose disk is full or read-only: it says so, does no harm, and goes on by itself when it can. */
import { describe, expect, test } from 'vitest'
import { makeNetns, type Netns } from '../../support/netns.ts'
import { makeRouter, type TestRouter } from '../../support/router.ts'
import { until } from '../../support/until.ts'

const SEED = ['--ipam-init', 'seed=self']
const DISK_BYTES = 256 * 1024
/** So that few records fill a page of the disk. */
const LONG = 'x'.repeat(120)

/** Takes all the room there is; the journal's last page has some left, which ADDs and DELs use up. @returns the ADD that failed. */
async function fill(router: TestRouter, pod: Netns) {
  await router.disk?.run('dd if=/dev/zero of=rest bs=4096 2>/dev/null || true')
  for (let count = 0; count < 100; count++) {
    const added = await router.cni('ADD', pod, `${LONG}${count}`)
    if (added.status !== 0) return added
    expect((await router.cni('DEL', pod, `${LONG}${count}`)).status).toBe(0)
  }
  throw new Error('the disk does not get full')
}

const podLinksOf = async (router: TestRouter): Promise<number> => (await router.ns.exec('ip', '-o', 'link')).split('wpod').length - 1

describe('a full disk', () => {
  test('fails ADD with file and reason, lets pods go, and needs no restart when there is room again', async () => {
    await using router = await makeRouter('192.0.2.1', { diskBytes: DISK_BYTES })
    await using one = await makeNetns()
    await using other = await makeNetns()
    const running = router.start(...SEED)
    await router.ready()
    const address = (await router.cni('ADD', one, 'c1')).answer?.ips?.[0]?.address.replace('/32', '') ?? ''
    const refused = await fill(router, other)
    expect(refused).toMatchObject({ status: 1, answer: { code: 11, msg: expect.stringMatching(/ipam\.journal.*ENOSPC/) } })
    expect([await podLinksOf(router), await other.exec('ip', '-o', 'link')]).toEqual([1, expect.not.stringContaining('eth0')])
    const { ready, ipam } = await router.snapshot()
    expect([ready, ipam.journalFault, ipam.activeIps]).toEqual([false, expect.stringContaining('ENOSPC'), 2])
    expect((await router.weft('status')).stdout).toMatch(/Journal: cannot .*ENOSPC/)
    await expect(router.ns.exec('ping', '-c', '1', '-W', '2', address)).resolves.toContain(' 0% packet loss')
    expect((await router.cni('DEL', one, 'c1')).status).toBe(0)
    expect(await podLinksOf(router)).toBe(0)
    await router.disk?.run('rm rest')
    await router.ready()
    expect((await router.cni('ADD', other, 'c3')).status).toBe(0)
    const { allocations } = (await router.snapshot()).ipam
    expect(allocations.map(({ attachment }) => attachment)).toEqual(['weft/host', 'c3/eth0'])
    running.child.kill('SIGKILL')
    await running.ended
    router.start(...SEED)
    expect((await router.ready()).ipam.allocations).toEqual(allocations)
  })

  test('does not keep a router from starting that was killed on it', async () => {
    await using router = await makeRouter('192.0.2.1', { diskBytes: DISK_BYTES })
    await using one = await makeNetns()
    await using other = await makeNetns()
    const first = router.start(...SEED)
    await router.ready()
    await router.cni('ADD', one, 'c1')
    await fill(router, other)
    const before = (await router.snapshot()).ipam.allocations
    first.child.kill('SIGKILL')
    await first.ended
    const second = router.start(...SEED)
    const after = await until('it answers', () => router.snapshot().catch(() => undefined))
    expect(after.ipam.allocations).toEqual(before)
    expect((await router.cni('ADD', other, `${LONG}c2`)).answer).toMatchObject({ code: 11, msg: expect.stringContaining('ENOSPC') })
    await router.disk?.run('rm rest')
    await router.ready()
    expect((await router.cni('ADD', other, 'c2')).status).toBe(0)
    expect(second.child.exitCode).toBeNull()
  })
})

test('a router does not start on a read-only disk, and says why; its pods go on, and later it finds them as they were', async () => {
  await using router = await makeRouter('192.0.2.1', { diskBytes: DISK_BYTES })
  await using pod = await makeNetns()
  const first = router.start(...SEED)
  await router.ready()
  const address = (await router.cni('ADD', pod, 'c1')).answer?.ips?.[0]?.address.replace('/32', '') ?? ''
  const before = (await router.snapshot()).ipam.allocations
  first.child.kill('SIGKILL')
  await first.ended
  await router.disk?.run('cd /; mount -o remount,ro "$1"')
  const second = router.start(...SEED)
  expect(await second.ended).toBe(1)
  expect(second.log()).toMatch(/cannot use the state directory .*EROFS/)
  expect(second.log()).toContain('it must be a directory we may write to')
  await expect(router.ns.exec('ping', '-c', '1', '-W', '2', address)).resolves.toContain(' 0% packet loss')
  await router.disk?.run('cd /; mount -o remount,rw "$1"')
  router.start(...SEED)
  expect((await router.ready()).ipam.allocations).toEqual(before)
})
