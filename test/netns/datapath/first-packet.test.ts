/** What a pod sends first, in the moment in which it is told that it is attached, arrives. */
import { test } from 'vitest'
import { parseCidr } from '../../../mesh/base/address.ts'
import { type Ip, parseIp } from '../../../mesh/base/ip.ts'
import { parseCidr6 } from '../../../mesh/base/prefix.ts'
import type { AttachRequest } from '../../../plugin/port.ts'
import { type Fd, native } from '../../../router/kernel/native.ts'
import { probeFamily } from '../../../router/lab/probe/family.ts'
import { SOCK_DGRAM, sockaddr } from '../../../router/lab/probe/sockaddr.ts'
import { makeBusy } from '../../support/busy.ts'
import { attachRequest, makeHost } from '../../support/host.ts'
import { makeNetns, type Netns } from '../../support/netns.ts'
import { must } from '../../support/result.ts'
import { until } from '../../support/until.ts'

/** Of attachments that do not wait for the kernel to give the pod's link a queue a fifth and more lose the packet on a busy machine. */
const PODS = 50
const PORT = 5_000
const UDP = 17
const forever = new AbortController().signal

const RANGE = parseCidr('10.32.0.0/24')
const RANGE6 = parseCidr6('fd00:77:65::/64')

function udp(pod: Netns, family: Ip): Disposable & { readonly fd: Fd } {
  const fd = native().socket(pod.fd, probeFamily(family).domain, SOCK_DGRAM, UDP)
  return { fd, [Symbol.dispose]: () => native().close(fd) }
}

function received(fd: Fd): number | undefined {
  const buffer = new Uint8Array(16)
  return native().receive(fd, buffer) === undefined ? undefined : buffer[0]
}

test.each([
  { name: 'IPv4', universe: RANGE, family: 0, any: parseIp('0.0.0.0') },
  { name: 'IPv6', universe: { ...RANGE, v6: RANGE6 }, family: 1, any: parseIp('::') },
])(
  'a packet that a pod sends over $name as soon as it is attached arrives at another pod',
  { timeout: 60_000 },
  async ({ universe, family, any }) => {
    await using host = await makeHost(universe)
    await using other = await makeNetns()
    using first = attachRequest(other, 'other')
    const address = must(await host.pods.attach(first, forever)).addresses[family]
    const to = sockaddr(parseIp(address?.address.replace(/[/].*/, '') ?? ''), PORT)
    using receiver = udp(other, any)
    native().bind(receiver.fd, sockaddr(any, PORT))
    await using stack = new AsyncDisposableStack()
    const pods: { readonly request: AttachRequest; readonly fd: Fd }[] = []
    for (let index = 0; index < PODS; index++) {
      const pod = stack.use(await makeNetns())
      pods.push({ request: stack.use(attachRequest(pod, `c${index}`)), fd: stack.use(udp(pod, any)).fd })
    }
    await using _busy = makeBusy()
    const arrived = new Set<number>()
    for (const [index, { request, fd }] of pods.entries()) {
      must(await host.pods.attach(request, forever))
      native().send(fd, Uint8Array.of(index), to, [])
    }
    await until('the packet of every pod has arrived', () => {
      for (let index = received(receiver.fd); index !== undefined; index = received(receiver.fd)) arrived.add(index)
      return arrived.size === PODS ? true : undefined
    })
  },
)
