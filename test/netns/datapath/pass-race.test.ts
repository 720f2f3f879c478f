/** A pass takes its time, and pods come meanwhile: it takes nothing from those. */
import { expect, test } from 'vitest'
import { pass } from '../../../router/datapath/pass.ts'
import { attachRequest, makeHost } from '../../support/host.ts'
import { makeNetns } from '../../support/netns.ts'
import { must } from '../../support/result.ts'

const forever = new AbortController().signal

test('a pod that is attached between what a pass was told and its look at the kernel keeps its route and its neighbour entry', async () => {
  await using host = await makeHost()
  await using pod = await makeNetns()
  must(await pass(host.netlink, host.wants()))
  const told = host.wants()
  using request = attachRequest(pod, 'c1')
  must(await host.pods.attach(request, forever))
  expect(must(await pass(host.netlink, told)).changes).toMatchObject({ added: [], removed: 0, errors: [] })
})
