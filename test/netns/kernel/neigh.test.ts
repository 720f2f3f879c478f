/** Neighbours and forwarding entries, made by us and looked at with `ip neighbour` and `bridge fdb`. */
import { describe, expect, test } from 'vitest'
import { parseIpv4 } from '../../../mesh/base/address.ts'
import { diff } from '../../../mesh/base/diff.ts'
import type { FdbEntry, Neighbour } from '../../../router/kernel/codec/neigh.ts'
import { parseMac } from '../../../router/kernel/mac.ts'
import {
  appendFdb,
  deleteFdb,
  deleteNeighbour,
  fdbKey,
  listFdb,
  listNeighbours,
  neighbourKey,
  replaceNeighbour,
} from '../../../router/kernel/neigh.ts'
import { linkNamed, makeKernelNetns, makeLinks } from '../../support/kernel.ts'
import { must, mustFail } from '../../support/result.ts'

const ADDRESS = parseIpv4('169.254.77.2')
const MAC = parseMac('02:aa:bb:cc:dd:02')
const EVERYBODY = parseMac('00:00:00:00:00:00')

describe('a neighbour', () => {
  test('is permanent, is shown by `ip neighbour`, and is listed in the same shape', async () => {
    await using host = await makeKernelNetns()
    const { index: link } = await makeLinks(host.netlink, 'wp0')
    const wanted: Neighbour = { link, address: ADDRESS, mac: MAC }
    must(await replaceNeighbour(host.netlink, wanted))
    expect(await host.ns.ip('neighbour', 'show')).toEqual([{ dst: '169.254.77.2', dev: 'wp0', lladdr: MAC, state: ['PERMANENT'] }])
    expect(diff([wanted], must(await listNeighbours(host.netlink)), neighbourKey)).toEqual({ add: [], remove: [] })
  })

  test('is replaced by another of the same address', async () => {
    await using host = await makeKernelNetns()
    const { index: link } = await makeLinks(host.netlink, 'wp0')
    const other = parseMac('02:aa:bb:cc:dd:03')
    must(await replaceNeighbour(host.netlink, { link, address: ADDRESS, mac: MAC }))
    must(await replaceNeighbour(host.netlink, { link, address: ADDRESS, mac: other }))
    expect(must(await listNeighbours(host.netlink))).toEqual([{ link, address: ADDRESS, mac: other, permanent: true }])
  })

  test('is listed by link, and deleted twice without an error', async () => {
    await using host = await makeKernelNetns()
    const one = await makeLinks(host.netlink, 'wp0')
    const two = await makeLinks(host.netlink, 'wp1')
    for (const link of [one.index, two.index]) must(await replaceNeighbour(host.netlink, { link, address: ADDRESS, mac: MAC }))
    expect(must(await listNeighbours(host.netlink, two.index)).map(({ link }) => link)).toEqual([two.index])
    expect(must(await listNeighbours(host.netlink, 9_999))).toEqual([])
    must(await deleteNeighbour(host.netlink, { link: one.index, address: ADDRESS }))
    must(await deleteNeighbour(host.netlink, { link: one.index, address: ADDRESS }))
    must(await deleteNeighbour(host.netlink, { link: 9_999, address: ADDRESS }))
    expect(must(await listNeighbours(host.netlink)).map(({ link }) => link)).toEqual([two.index])
  })

  test('of a link that is not there is an error that says what was attempted', async () => {
    await using host = await makeKernelNetns()
    expect(mustFail(await replaceNeighbour(host.netlink, { link: 9_999, address: ADDRESS, mac: MAC }))).toMatchObject({
      code: 'ENODEV',
      operation: 'ip neighbour replace 169.254.77.2 lladdr 02:aa:bb:cc:dd:02 nud permanent dev if9999',
    })
  })
})

test('forwarding entries of a VXLAN are appended, listed and deleted, twice without an error', async () => {
  await using host = await makeKernelNetns()
  await host.ns.exec('ip', 'link', 'add', 'vx7', 'type', 'vxlan', 'id', '7', 'dstport', '4789', 'nolearning')
  const { index: link } = await linkNamed(host.netlink, 'vx7')
  const wanted: readonly FdbEntry[] = [
    { link, mac: EVERYBODY, destination: parseIpv4('192.0.2.2') },
    { link, mac: EVERYBODY, destination: parseIpv4('192.0.2.3') },
    { link, mac: MAC, destination: parseIpv4('192.0.2.2') },
  ]
  for (const entry of [...wanted, ...wanted]) must(await appendFdb(host.netlink, entry))
  expect(diff(wanted, must(await listFdb(host.netlink, link)), fdbKey)).toEqual({ add: [], remove: [] })
  expect(must(await listFdb(host.netlink, link))).toHaveLength(3)
  const shown = await host.ns.exec('bridge', 'fdb', 'show', 'dev', 'vx7')
  expect(shown).toContain('00:00:00:00:00:00 dst 192.0.2.3 self permanent')
  for (const entry of [...wanted, ...wanted]) must(await deleteFdb(host.netlink, entry))
  expect(must(await listFdb(host.netlink, link))).toEqual([])
})
