/** Whether addresses add up: each way in which they may not is found and named. */
import { describe, expect, test } from 'vitest'
import type { AttachmentKey } from '../../../ipam/attachment.ts'
import { Ledger } from '../../../ipam/ledger.ts'
import { leaks, proveNode, ringFindings } from '../../../ipam/proof.ts'
import { openStore } from '../../../ipam/store.ts'
import { type Ipv4, parseCidr, parseIpv4 } from '../../../mesh/base/address.ts'
import { items, key, news, peer, SEED_ID } from '../../support/ipam.ts'
import { MemoryDisk } from '../../support/memory-disk.ts'

const universe = parseCidr('10.32.0.0/27')

/** Of `a`, with pod n at address n. */
function ledger(ring: string, pods: readonly number[]): Ledger {
  const { store } = openStore(new MemoryDisk().open(), { peer: peer('a'), universe, cluster: '' })
  return new Ledger(peer('a'), universe, store, [
    ...(ring === '' ? [] : [{ kind: 'ring', delta: { universe, seedId: SEED_ID, ...news(items(32, ring)) } } as const]),
    ...pods.map((host) => ({ kind: 'allocate', key: key(host), host }) as const),
  ])
}

function living(pods: Readonly<Record<number, string | undefined>>): ReadonlyMap<AttachmentKey, Ipv4 | undefined> {
  return new Map(Object.entries(pods).map(([pod, text]) => [key(Number(pod)), text === undefined ? undefined : parseIpv4(text)]))
}

test.each([
  { name: 'a whole ring', ring: '0:a:1 16:b:2', findings: [] },
  { name: 'no ring', ring: '', findings: ['no ring of address ranges is known'] },
  { name: 'a gap before the first token', ring: '8:a:1 16:b:2', findings: ['nobody is known to own 10.32.0.0 to 10.32.0.7'] },
  { name: 'a gap between two', ring: '0:a:1 8:-:0 16:b:2', findings: ['nobody is known to own 10.32.0.8 to 10.32.0.15'] },
  { name: 'an end that is missing', ring: '0:a:1:8', findings: ['nobody is known to own 10.32.0.8 to 10.32.0.31'] },
])('$name', ({ ring, findings }) => {
  expect(ringFindings(ledger(ring, []))).toEqual(findings)
})

describe('a node', () => {
  const none: ReadonlySet<AttachmentKey> = new Set()
  const HALF = '0:a:1 16:b:1'

  test('whose allocations are its pods has nothing to tell', () => {
    const attachments = living({ 1: '10.32.0.1', 2: undefined })
    expect(proveNode(ledger(HALF, [1, 2]), { attachments, busy: none })).toEqual({ allocated: 2, living: 2, findings: [] })
  })

  test.each([
    { name: 'a leak', pods: [1, 2], lives: { 1: '10.32.0.1' }, finding: '10.32.0.2 is allocated to pod-2/eth0, which does not exist' },
    {
      name: 'a pod without an address',
      pods: [],
      lives: { 1: '10.32.0.1' },
      finding: 'pod-1/eth0 exists with 10.32.0.1, and none is allocated to it',
    },
    {
      name: 'a pod of which no address is known',
      pods: [],
      lives: { 1: undefined },
      finding: 'pod-1/eth0 exists with an address, and none is allocated to it',
    },
    {
      name: 'a pod with another address',
      pods: [1],
      lives: { 1: '10.32.0.9' },
      finding: 'pod-1/eth0 exists with 10.32.0.9, and 10.32.0.1 is allocated to it',
    },
    {
      name: 'an address of another owner',
      pods: [17],
      lives: { 17: '10.32.0.17' },
      finding: '10.32.0.17 of pod-17/eth0 is in no range of this node',
    },
  ])('tells of $name, unless it is being worked on', ({ pods, lives, finding }) => {
    const account = ledger(HALF, pods)
    const attachments = living(lives)
    expect(proveNode(account, { attachments, busy: none }).findings).toEqual([finding])
    const busy = new Set([1, 2].map(key))
    expect(proveNode(account, { attachments, busy }).findings).toEqual(pods[0] === 17 ? [finding] : [])
  })

  test('tells of an address that was given twice', () => {
    const account = ledger(HALF, [])
    const { store } = openStore(new MemoryDisk().open(), { peer: peer('a'), universe, cluster: '' })
    const twice = new Ledger(peer('a'), universe, store, [
      { kind: 'ring', delta: { universe, seedId: SEED_ID, ...news(items(32, HALF)) } },
      { kind: 'allocate', key: key(1), host: 5 },
      { kind: 'allocate', key: key(2), host: 5 },
    ])
    const attachments = living({ 1: '10.32.0.5', 2: '10.32.0.5' })
    expect(proveNode(twice, { attachments, busy: none }).findings).toEqual(['10.32.0.5 is allocated to both pod-1/eth0 and pod-2/eth0'])
    expect(proveNode(account, { attachments: living({}), busy: none }).findings).toEqual([])
  })

  test('has as leaks what is allocated to nothing, and not what is being worked on', () => {
    const found = leaks(ledger(HALF, [1, 2, 3]), { attachments: living({ 1: undefined }), busy: new Set([key(3)]) })
    expect(found).toEqual(new Map([[key(2), parseIpv4('10.32.0.2')]]))
  })
})
