/** Addresses that a runtime or a configuration asks for, from the request to the answer. */
import { expect, test } from 'vitest'
import { err } from '../../../mesh/base/result.ts'
import { handleCni } from '../../../plugin/cni.ts'
import type { Fd } from '../../../router/kernel/native.ts'
import { PodNetworkModel } from '../../support/pod-network-model.ts'

interface Call {
  readonly env?: Readonly<Record<string, string>>
  readonly conf?: object
}

/** What an ADD prints. */
async function add(port: PodNetworkModel, { env = {}, conf = {} }: Call): Promise<unknown> {
  const request = {
    env: { CNI_COMMAND: 'ADD', CNI_CONTAINERID: 'c', CNI_NETNS: '/run/netns/c', CNI_IFNAME: 'eth0', ...env },
    stdin: JSON.stringify({ cniVersion: '1.1.0', name: 'weft', type: 'weft-cni', ...conf }),
    netns: { kind: 'passed', netns: { namespace: 1 as Fd, routeSocket: 99 as Fd }, isOwn: false },
  } as const
  return JSON.parse((await handleCni(request, port, new AbortController().signal)).stdout)
}

const WAYS: readonly (Call & { readonly name: string })[] = [
  { name: 'CNI_ARGS', env: { CNI_ARGS: 'IP=10.32.0.9' } },
  { name: 'CNI_ARGS among others', env: { CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAME=p;IP=10.32.0.9' } },
  { name: 'the capability ips', conf: { runtimeConfig: { ips: ['10.32.0.9/12'] } } },
  { name: 'args.cni', conf: { args: { cni: { ips: ['10.32.0.9'] } } } },
]

test.each(WAYS)('an address that is asked for by $name is had', async ({ env = {}, conf = {} }) => {
  expect(await add(new PodNetworkModel(), { env, conf })).toMatchObject({ ips: [{ address: '10.32.0.9/32' }] })
  const delegated = { ...conf, type: 'macvlan', ipam: { type: 'weft-ipam' } }
  expect(await add(new PodNetworkModel(), { env, conf: delegated })).toMatchObject({ ips: [{ address: '10.32.0.9/32' }] })
})

test.each([{ type: 'weft-cni' }, { type: 'macvlan' }])('the subnet of the configuration is kept to, of $type', async ({ type }) => {
  const conf = { type, ipam: { type: 'weft-ipam', subnet: '10.32.0.16/28' } }
  expect(await add(new PodNetworkModel(), { conf })).toMatchObject({ ips: [{ address: '10.32.0.16/32' }] })
})

test('what no pod could ever get is a bad configuration', async () => {
  const port = new PodNetworkModel()
  port.attach = () => Promise.resolve(err({ code: 'address-impossible', reason: '10.9.0.1 is outside of 10.32.0.0/12' }))
  expect(await add(port, {})).toMatchObject({ code: 7, msg: 'no such address: 10.9.0.1 is outside of 10.32.0.0/12' })
})

test('what is in use may be had later', async () => {
  const port = new PodNetworkModel()
  await add(port, { env: { CNI_ARGS: 'IP=10.32.0.9' } })
  expect(await add(port, { env: { CNI_CONTAINERID: 'd', CNI_IFNAME: 'eth1', CNI_ARGS: 'IP=10.32.0.9' } })).toMatchObject({ code: 11 })
})
