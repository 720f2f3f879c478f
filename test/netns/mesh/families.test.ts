/** Hosts with addresses of both families, and hosts without IPv6 at all. */
import { expect, test } from 'vitest'
import { makeNetns } from '../../support/netns.ts'
import { joinUnderlays, makeRouter, type TestRouter } from '../../support/router.ts'
import { until } from '../../support/until.ts'

const LONG_MS = 60_000

/** What the connections of a router say, once one is established and its peer known. */
function established(router: TestRouter): Promise<string> {
  return until('a connection is established', async () => {
    const { stdout } = await router.weft('status', 'connections')
    return /established [0-9a-f]{16}\([ab]\)/.test(stdout) ? stdout : undefined
  })
}

test('two hosts that reach each other by IPv6 alone are members, and tell both of their addresses', { timeout: LONG_MS }, async () => {
  await using stack = new AsyncDisposableStack()
  const hub = stack.use(await makeNetns())
  const [a, b] = [stack.use(await makeRouter('192.0.2.1')), stack.use(await makeRouter('192.0.2.2'))]
  await joinUnderlays(hub, [a, b])
  for (const [index, { ns }] of [a, b].entries()) {
    await ns.exec('ip', 'address', 'add', `fd00::${index + 1}/64`, 'dev', 'eth0', 'nodad')
    await ns.exec('nft', 'table ip closed { chain input { type filter hook input priority -10; tcp dport 6783 drop; }; }')
  }
  a.start('--nickname', 'a', '--ipam-init', 'seed=self')
  await a.ready()
  b.start('--nickname', 'b', 'FD00:0::1')
  const [atA, atB] = [await established(a), await established(b)]
  expect(atB).toMatch(/^-> \[fd00::1\]:6783 +established [0-9a-f]{16}\(a\)$/m)
  expect(atA).toMatch(/^<- \[fd00::2\]:\d+ +established [0-9a-f]{16}\(b\)$/m)
  await b.ready()
  const { router } = await b.snapshot()
  expect(router.peers.map(({ nickname, addresses }) => `${nickname} ${addresses}`).sort()).toEqual([
    'a 192.0.2.1,fd00::1',
    'b 192.0.2.2,fd00::2',
  ])
  // The way of pods' packets is IPv4 all the same.
  expect(await b.ns.exec('ip', 'route', 'show', 'proto', '119')).toContain('via 192.0.2.1 dev weft-vx')
})

test('a host on which IPv6 is switched off listens all the same', { timeout: LONG_MS }, async () => {
  await using stack = new AsyncDisposableStack()
  const hub = stack.use(await makeNetns())
  const [a, b] = [stack.use(await makeRouter('192.0.2.1')), stack.use(await makeRouter('192.0.2.2'))]
  await joinUnderlays(hub, [a, b])
  await a.ns.exec('sh', '-c', 'for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 > $f; done')
  a.start('--nickname', 'a', '--ipam-init', 'seed=self')
  await a.ready()
  b.start('--nickname', 'b', '192.0.2.1')
  expect(await established(b)).toMatch(/^-> 192\.0\.2\.1:6783 +established [0-9a-f]{16}\(a\)$/m)
})
