/**
 * Two hosts, of which neither reaches the other's mesh port, and a real nginx with TLS that both reach:
 *
 *   b (192.0.2.2) ── wss://192.0.2.9/weft ──► nginx (192.0.2.9) ── 6783 ──► a (192.0.2.1)
 */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { makeNetns, type Netns } from '../../support/netns.ts'
import { makeNginx, type Nginx } from '../../support/nginx.ts'
import { joinUnderlays, makeRouter, type TestRouter } from '../../support/router.ts'
import { until } from '../../support/until.ts'

const [A, B, PROXY] = ['192.0.2.1', '192.0.2.2', '192.0.2.9']
const LONG_MS = 60_000

let stack = new AsyncDisposableStack()
let [a, b]: TestRouter[] = []
let nginx: Nginx
let pods: readonly Netns[]

/** A router, and all that it needs: made anew for each test. */
beforeEach(async () => {
  const hub = stack.use(await makeNetns())
  a = stack.use(await makeRouter(A))
  b = stack.use(await makeRouter(B))
  await joinUnderlays(hub, [a, b])
  await hub.exec('ip', 'address', 'add', `${PROXY}/24`, 'dev', 'switch')
  await closePort(a, PROXY)
  await closePort(b, '192.0.2.254')
  nginx = stack.use(await makeNginx(hub, { address: PROXY, upstream: `${A}:6783` }))
  pods = [stack.use(await makeNetns()), stack.use(await makeNetns())]
  a.start('--nickname', 'a', '--ipam-init', 'seed=self')
  await a.ready()
}, LONG_MS)

afterEach(async () => {
  await stack.disposeAsync()
  stack = new AsyncDisposableStack()
}, LONG_MS)

/** From now on only `friend` reaches the mesh port of this host. */
async function closePort({ ns }: TestRouter, friend: string): Promise<void> {
  const rule = `iifname "eth0" tcp dport 6783 ip saddr != ${friend} drop`
  await ns.exec('nft', `table inet closed { chain input { type filter hook input priority -10; ${rule}; }; }`)
}

async function connections(router: TestRouter | undefined): Promise<string> {
  return (await router?.weft('status', 'connections'))?.stdout ?? ''
}

/** What the connections of a router say, once they say so. */
function saying(router: TestRouter | undefined, pattern: RegExp): Promise<RegExpExecArray> {
  return until(`the connections say ${pattern}`, async () => pattern.exec(await connections(router)) ?? undefined)
}

const TO_A = /^-> wss:\/\/192\.0\.2\.9:443 +established +[0-9a-f]{16}\(a\)$/m
const FROM_B = /^<- ws:\/\/192\.0\.2\.9:\d+ +established +[0-9a-f]{16}\(b\)$/m

test('a real nginx on 443 with TLS carries the mesh between two hosts, and both see it in their status', { timeout: LONG_MS }, async () => {
  if (a === undefined || b === undefined) throw new Error('there are two routers')
  await nginx.start()
  b.start('--nickname', 'b', '--tls-ca', nginx.authority, `wss://${PROXY}/weft`)
  await Promise.all([saying(b, TO_A), saying(a, FROM_B)])
  expect((await b.weft('status', 'targets')).stdout).toBe('wss://192.0.2.9:443/weft\n')
  await b.ready()
  const [one, other] = pods
  await a.cni('ADD', one ?? '', 'c1')
  const { answer } = await b.cni('ADD', other ?? '', 'c2')
  const address = answer?.ips?.[0]?.address.replace('/32', '') ?? ''
  await until('pods reach each other', () => one?.exec('ping', '-c', '1', '-W', '1', address).catch(() => undefined))

  await nginx.kill()
  await until('b has noticed', async () => (TO_A.test(await connections(b)) ? undefined : true))
  await saying(b, /wss:\/\/192\.0\.2\.9:443\/weft failed +dial wss:\/\/192\.0\.2\.9:443\/weft: connection refused, retry: /)
  await expect(one?.exec('ping', '-c', '1', '-W', '2', address)).resolves.toContain(' 0% packet loss')
  await nginx.start()
  await Promise.all([saying(b, TO_A), saying(a, FROM_B)])
})

test('what keeps them apart is told in words', { timeout: LONG_MS }, async () => {
  if (a === undefined || b === undefined) throw new Error('there are two routers')
  await nginx.start()
  const running = b.start('--nickname', 'b', `wss://${PROXY}/weft`)
  await saying(b, /the certificate of 192\.0\.2\.9 is not signed by an authority that this node trusts: name its authority with --tls-ca/)
  running.child.kill('SIGKILL')
  await running.ended
  b.start('--nickname', 'b', '--tls-ca', nginx.authority, `wss://${PROXY}/weft/other`, `wss://${PROXY}/elsewhere`, `ws://${PROXY}:443/weft`)
  await saying(b, /\/weft\/other: 192\.0\.2\.9 answered 404 Not Found: is a Weft router behind that path\?/)
  await saying(b, /\/elsewhere: 192\.0\.2\.9 answered 404 Not Found: is a Weft router behind that path\?/)
  await saying(b, /ws:\/\/192\.0\.2\.9:443\/weft: 192\.0\.2\.9 answered 400 Bad Request: is a Weft router behind that path\?/)
  await a.ns.exec('nft', 'delete', 'table', 'inet', 'closed')
  await a.ns.exec(
    'nft',
    'table inet closed { chain input { type filter hook input priority -10; tcp dport 6783 reject with tcp reset; }; }',
  )
  await b.weft('connect', `wss://${PROXY}/weft`)
  await saying(b, /\/weft: 192\.0\.2\.9 answered 502 Bad Gateway: is a Weft router behind that path\?/)
})
