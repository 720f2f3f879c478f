/** What is changed of a WireGuard device, carried out on a model of the kernel: little, in the right order, and never twice. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Cidr, cidr, type Ipv4, ipv4, parseCidr, parseIpv4 } from '../../../../mesh/base/address.ts'
import { toHex } from '../../../../mesh/base/bytes.ts'
import { parseIp } from '../../../../mesh/base/ip.ts'
import { LEFTOVERS_MAX } from '../../../../router/kernel/allowed-ips.ts'
import type { SocketAddress } from '../../../../router/kernel/codec/sockaddr.ts'
import type { DeviceChanges, PeerChange, Prefix } from '../../../../router/kernel/codec/wireguard.ts'
import { type DeviceWants, type PeerWants, planWireguard, type Told } from '../../../../router/kernel/wireguard-plan.ts'
import { isPeer, modelKeys, WireguardModel } from '../../../support/wireguard-model.ts'

const NOW = 1_000_000
const SESSION_SECONDS_MAX = 180

const key = (byte: number): Uint8Array => new Uint8Array(32).fill(byte)
const at = (address: string, port = 6785): SocketAddress => ({ address: parseIp(address), port })
const OWN = modelKeys(key(0xff))

function peer(byte: number, changes: Partial<PeerWants> & { readonly ips?: readonly string[] } = {}): PeerWants {
  const { ips = [], ...rest } = changes
  return {
    publicKey: key(byte),
    presharedKey: key(byte + 100),
    endpoint: at(`192.0.2.${byte}`),
    keepalive: 0,
    allowedIps: ips.map(parseCidr),
    ...rest,
  }
}

function wants(...peers: readonly PeerWants[]): DeviceWants {
  return { keys: OWN, listenPort: 6785, mark: 0, peers }
}

/** A device that is kept as it should be, with what the keeper remembers. */
class Keeper {
  readonly model: WireguardModel
  told: Told = new Map()
  now = NOW

  constructor(look?: () => void) {
    this.model = new WireguardModel(look)
  }

  pass(want: DeviceWants): DeviceChanges | undefined {
    const { changes, told } = planWireguard({ want, have: this.model.device, told: this.told, now: this.now })
    if (changes !== undefined) this.model.apply(changes)
    this.told = told
    return changes
  }
}

function kept(...peers: readonly PeerWants[]): Keeper {
  const keeper = new Keeper()
  keeper.pass(wants(...peers))
  return keeper
}

describe('a new device', () => {
  const want = wants(peer(1, { ips: ['10.32.0.0/16'], keepalive: 25 }), peer(2, { ips: ['10.40.0.0/16'], endpoint: undefined }))
  const keeper = new Keeper()

  test('is told everything, each peer once and with its preshared key from the start', () => {
    expect(keeper.pass(want)).toEqual({
      privateKey: OWN.secretKey,
      listenPort: 6785,
      peers: [
        {
          kind: 'add',
          publicKey: key(1),
          presharedKey: key(101),
          endpoint: at('192.0.2.1'),
          keepalive: 25,
          allowedIps: [parseCidr('10.32.0.0/16')],
        },
        { kind: 'add', publicKey: key(2), presharedKey: key(102), allowedIps: [parseCidr('10.40.0.0/16')] },
      ],
    })
  })

  test('is told nothing the second time', () => {
    expect(keeper.pass(want)).toBeUndefined()
  })
})

describe('only what differs is said', () => {
  const before = [peer(1, { ips: ['10.32.0.0/16'] }), peer(2, { ips: ['10.40.0.0/16'] })] as const
  const [first, second] = before
  const removed = { kind: 'remove' as const, publicKey: key(2) }

  test.each<{ readonly name: string; readonly want: DeviceWants; readonly changes: DeviceChanges }>([
    { name: 'the port', want: { ...wants(...before), listenPort: 7000 }, changes: { listenPort: 7000 } },
    { name: 'the mark', want: { ...wants(...before), mark: 5 }, changes: { mark: 5 } },
    {
      name: 'our own key',
      want: { ...wants(...before), keys: modelKeys(key(9)) },
      changes: { privateKey: key(9) },
    },
    {
      name: 'a preshared key',
      want: wants(first, { ...second, presharedKey: key(7) }),
      changes: { peers: [{ kind: 'update', publicKey: key(2), presharedKey: key(7) }] },
    },
    {
      name: 'none any more',
      want: wants(first, { ...second, presharedKey: undefined }),
      changes: { peers: [{ kind: 'update', publicKey: key(2), presharedKey: undefined }] },
    },
    {
      name: 'a keepalive',
      want: wants(first, { ...second, keepalive: 25 }),
      changes: { peers: [{ kind: 'update', publicKey: key(2), keepalive: 25 }] },
    },
    {
      name: 'an endpoint',
      want: wants(first, { ...second, endpoint: at('2001:db8::2') }),
      changes: { peers: [{ kind: 'update', publicKey: key(2), endpoint: at('2001:db8::2') }] },
    },
    { name: 'a peer that is gone', want: wants(first), changes: { peers: [removed] } },
    {
      name: 'one more prefix',
      want: wants({ ...first, allowedIps: [...first.allowedIps, parseCidr('10.33.0.0/16')] }, second),
      changes: { peers: [{ kind: 'update', publicKey: key(1), allowedIps: [parseCidr('10.33.0.0/16')] }] },
    },
    {
      name: 'a prefix that another peer has now',
      want: wants({ ...first, allowedIps: [...first.allowedIps, ...second.allowedIps] }, { ...second, allowedIps: [] }),
      changes: { peers: [{ kind: 'update', publicKey: key(1), allowedIps: second.allowedIps }] },
    },
    {
      name: 'a prefix of a peer that is gone: given first, then the peer is removed',
      want: wants({ ...first, allowedIps: [...first.allowedIps, ...second.allowedIps] }),
      changes: { peers: [{ kind: 'update', publicKey: key(1), allowedIps: second.allowedIps }, removed] },
    },
  ])('$name', ({ want, changes }) => {
    const keeper = kept(...before)
    expect(keeper.pass(want)).toEqual(changes)
    expect(keeper.pass(want)).toBeUndefined()
  })
})

test('of two peers with one key the first counts, and one with our own key does not', () => {
  const want = wants(peer(1), { ...peer(2), publicKey: key(1) }, { ...peer(3), publicKey: OWN.publicKey })
  const keeper = new Keeper()
  keeper.pass(want)
  expect(keeper.model.device.peers).toMatchObject([{ publicKey: key(1), presharedKey: key(101) }])
  expect(keeper.pass(want)).toBeUndefined()
})

describe('where a peer is', () => {
  const want = wants(peer(1))
  const moved = at('198.51.100.1', 40_000)

  test('is left to the kernel while there is a session', () => {
    const keeper = kept(peer(1))
    keeper.model.happen(key(1), { endpoint: moved, lastHandshake: NOW - SESSION_SECONDS_MAX })
    expect(keeper.pass(want)).toBeUndefined()
  })

  test('is what its record says when there is no session any more', () => {
    const keeper = kept(peer(1))
    keeper.model.happen(key(1), { endpoint: moved, lastHandshake: NOW - SESSION_SECONDS_MAX - 1 })
    expect(keeper.pass(want)).toEqual({ peers: [{ kind: 'update', publicKey: key(1), endpoint: at('192.0.2.1') }] })
  })

  test('is what its record says when that is news, at once and once', () => {
    const keeper = kept(peer(1))
    keeper.model.happen(key(1), { endpoint: moved, lastHandshake: NOW })
    const news = wants(peer(1, { endpoint: at('192.0.2.77') }))
    expect(keeper.pass(news)).toEqual({ peers: [{ kind: 'update', publicKey: key(1), endpoint: at('192.0.2.77') }] })
    keeper.model.happen(key(1), { endpoint: moved })
    expect(keeper.pass(news)).toBeUndefined()
  })

  test('is left to the kernel by one that has just started, while there is a session', () => {
    const keeper = kept(peer(1))
    keeper.model.happen(key(1), { endpoint: moved, lastHandshake: NOW - 1 })
    keeper.told = new Map()
    expect(keeper.pass(want)).toBeUndefined()
    expect(keeper.told).toEqual(new Map([[toHex(key(1)), at('192.0.2.1')]]))
  })

  test('is left to the kernel when the record does not say', () => {
    const keeper = kept(peer(1, { endpoint: undefined }))
    keeper.model.happen(key(1), { endpoint: moved })
    expect(keeper.pass(wants(peer(1, { endpoint: undefined })))).toBeUndefined()
  })
})

describe('a prefix that nobody is to have', () => {
  test('is dropped by a peer that comes and goes, when it stands alone', () => {
    const keeper = kept(peer(1, { ips: ['10.32.0.0/16', '10.40.0.0/16'] }))
    const changes = keeper.pass(wants(peer(1, { ips: ['10.32.0.0/16'] })))
    const [taken, gone, ...more] = changes?.peers ?? []
    expect(taken).toEqual({ kind: 'add', publicKey: taken?.publicKey, allowedIps: [parseCidr('10.40.0.0/16')] })
    expect([gone, more]).toEqual([{ kind: 'remove', publicKey: taken?.publicKey }, []])
    expect(keeper.model.ownerOf(parseIpv4('10.40.0.1'))).toBeUndefined()
    expect(keeper.pass(wants(peer(1, { ips: ['10.32.0.0/16'] })))).toBeUndefined()
  })

  test('stays inside of a wider one of the same peer', () => {
    const keeper = kept(peer(1, { ips: ['10.32.0.0/16'] }))
    const grown = wants(peer(1, { ips: ['10.32.0.0/15'] }))
    expect(keeper.pass(grown)).toEqual({ peers: [{ kind: 'update', publicKey: key(1), allowedIps: [parseCidr('10.32.0.0/15')] }] })
    expect(keeper.pass(grown)).toBeUndefined()
    expect(keeper.model.ownerOf(parseIpv4('10.32.0.1'))).toBe(toHex(key(1)))
  })

  test('goes to whoever has the wider one around it', () => {
    const keeper = kept(peer(1, { ips: ['10.32.0.0/16'] }), peer(2))
    const lost = wants(peer(1), peer(2, { ips: ['10.32.0.0/15'] }))
    keeper.pass(lost)
    expect(keeper.model.ownerOf(parseIpv4('10.32.0.1'))).toBe(toHex(key(2)))
    expect(keeper.pass(lost)).toBeUndefined()
  })

  test('IPv6 is no different', () => {
    const prefix = (base: string, length: number): Prefix => ({ base: parseIp(base), length })
    const keeper = kept({ ...peer(1), allowedIps: [prefix('fd00:32::', 32), prefix('fec0::', 16)] })
    const want = wants({ ...peer(1), allowedIps: [prefix('fd00::', 9)] })
    const changes = keeper.pass(want)
    expect(changes?.peers?.slice(0, 1)).toEqual([{ kind: 'update', publicKey: key(1), allowedIps: [prefix('fd00::', 9)] }])
    expect(keeper.model.device.peers.flatMap(({ allowedIps }) => allowedIps)).toEqual([prefix('fd00:32::', 32), prefix('fd00::', 9)])
  })

  test('is tidied away with others when there are too many', () => {
    const small = Array.from({ length: LEFTOVERS_MAX + 1 }, (_, index): Cidr => cidr(ipv4(parseIpv4('10.32.0.0') + 256 * index), 24))
    const keeper = kept({ ...peer(1), allowedIps: small.slice(1) })
    const wide = wants(peer(1, { ips: ['10.32.0.0/16'] }))
    keeper.pass(wide)
    expect(keeper.model.device.peers[0]?.allowedIps).toHaveLength(LEFTOVERS_MAX + 1)
    keeper.pass(wants({ ...peer(1), allowedIps: small }))
    keeper.pass(wide)
    expect(keeper.model.device.peers[0]?.allowedIps).toEqual([parseCidr('10.32.0.0/16')])
    expect(keeper.pass(wide)).toBeUndefined()
  })
})

/** A world of 256 addresses, so that prefixes meet. */
const WORLD: Ipv4 = parseIpv4('10.32.0.0')
const ADDRESSES: readonly Ipv4[] = Array.from({ length: 256 }, (_, index) => ipv4(WORLD + index))
const anyPrefix = fc
  .tuple(fc.nat(255), fc.integer({ min: 24, max: 32 }))
  .map(([number, length]) => cidr(ipv4(WORLD + number - (number % 2 ** (32 - length))), length))
const anySettings = fc.record({
  presharedKey: fc.option(fc.nat(3).map(key), { nil: undefined }),
  endpoint: fc.option(fc.constantFrom(at('192.0.2.1'), at('192.0.2.2'), at('2001:db8::1')), { nil: undefined }),
  keepalive: fc.constantFrom(0, 25),
})
/** Up to five peers, each prefix at one of them at most. */
const anyWants: fc.Arbitrary<DeviceWants> = fc
  .tuple(
    fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 5 }), anySettings), { selector: ([byte]) => byte, maxLength: 5 }),
    fc.uniqueArray(anyPrefix, { selector: ({ base, length }) => `${base}/${length}`, maxLength: 12 }),
    fc.array(fc.nat(), { minLength: 12, maxLength: 12 }),
    fc.record({ listenPort: fc.constantFrom(6785, 6786), mark: fc.nat(1) }),
  )
  .map(([peers, prefixes, places, device]) => ({
    keys: OWN,
    ...device,
    peers: peers.map(([byte, settings], index) => ({
      publicKey: key(byte),
      ...settings,
      allowedIps: prefixes.filter((_, number) => (places[number] ?? 0) % peers.length === index),
    })),
  }))

/** Whose each address is by these wants. */
function owners(want: DeviceWants): readonly (string | undefined)[] {
  const model = new WireguardModel()
  model.apply({ peers: want.peers.map((each): PeerChange => ({ ...each, kind: 'add', endpoint: at('192.0.2.9') })) })
  return ADDRESSES.map((address) => model.ownerOf(address))
}

describe('from any device to any other', () => {
  test('one pass is enough, the second does nothing, and each address is whose it should be', () => {
    fc.assert(
      fc.property(anyWants, anyWants, (before, after) => {
        const keeper = new Keeper()
        keeper.pass(before)
        keeper.pass(after)
        const { device } = keeper.model
        expect({ port: device.listenPort, mark: device.mark, key: device.publicKey }).toEqual({
          port: after.listenPort,
          mark: after.mark,
          key: OWN.publicKey,
        })
        expect(device.peers.map(({ publicKey }) => toHex(publicKey)).sort()).toEqual(
          after.peers.map(({ publicKey }) => toHex(publicKey)).sort(),
        )
        for (const { publicKey, presharedKey, keepalive, endpoint } of after.peers) {
          const found = device.peers.find(isPeer(publicKey))
          expect(found).toMatchObject({ presharedKey, keepalive, ...(endpoint === undefined ? {} : { endpoint }) })
        }
        expect(ADDRESSES.map((address) => keeper.model.ownerOf(address))).toEqual(owners(after))
        expect(keeper.pass(after)).toBeUndefined()
      }),
      { seed: 1, numRuns: 300 },
    )
  })

  test('no address that a peer is to have loses its owner on the way, and one that has come to its owner stays there', () => {
    fc.assert(
      fc.property(anyWants, anyWants, (before, after) => {
        const seen: (string | undefined)[][] = []
        const keeper = new Keeper(() => seen.push(ADDRESSES.map((address) => keeper.model.ownerOf(address))))
        keeper.pass(before)
        const [old, next] = [ADDRESSES.map((address) => keeper.model.ownerOf(address)), owners(after)]
        seen.length = 0
        keeper.pass(after)
        const faults = [...ADDRESSES.keys()]
          .map((index) => ({ from: old[index], to: next[index], path: [old[index], ...seen.map((step) => step[index]), next[index]] }))
          .filter(({ to }) => to !== undefined)
          .filter(
            ({ from, to, path }) =>
              path.slice(path.indexOf(to)).some((owner) => owner !== to) || (from !== undefined && path.includes(undefined)),
          )
        expect(faults).toEqual([])
      }),
      { seed: 1, numRuns: 150 },
    )
  })

  test('a peer is never there without its preshared key', () => {
    fc.assert(
      fc.property(anyWants, anyWants, (before, after) => {
        const keeper = new Keeper()
        keeper.pass(before)
        const had = keeper.model.device.peers
        const changes = keeper.pass(after)
        for (const wanted of after.peers.filter(({ publicKey }) => !had.some(isPeer(publicKey)))) {
          const first = changes?.peers?.find(isPeer(wanted.publicKey))
          expect(first).toMatchObject({ kind: 'add', ...(wanted.presharedKey === undefined ? {} : { presharedKey: wanted.presharedKey }) })
        }
      }),
      { seed: 1, numRuns: 150 },
    )
  })
})
