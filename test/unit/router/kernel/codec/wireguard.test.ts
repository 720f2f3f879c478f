/** Messages about WireGuard devices: against bytes written by hand from the kernel's headers, and as properties. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { cidr, ipv4, parseCidr, parseIpv4 } from '../../../../../mesh/base/address.ts'
import { toHex } from '../../../../../mesh/base/bytes.ts'
import { type Ip, parseIp } from '../../../../../mesh/base/ip.ts'
import { decodeFamily, decodeGeneric, encodeFamilyQuery } from '../../../../../router/kernel/codec/generic.ts'
import { decodeSocketAddress, encodeSocketAddress, ipBytes, ipOf } from '../../../../../router/kernel/codec/sockaddr.ts'
import {
  decodeDevicePart,
  encodeDeviceChanges,
  encodeDeviceDump,
  joinDeviceParts,
  type PeerChange,
  type Prefix,
  type WireguardDevice,
  type WireguardPeer,
} from '../../../../../router/kernel/codec/wireguard.ts'
import { vector } from '../../../../support/vectors.ts'

const SEED = { seed: 1 }
/** What the kernel takes in one message at the least, with room to spare. */
const MESSAGE_BYTES_MAX = 16 * 1024

const key = (byte: number): Uint8Array => new Uint8Array(32).fill(byte)

describe('as in the vectors', () => {
  test('changes are written', () => {
    const peers: readonly PeerChange[] = [
      {
        kind: 'add',
        publicKey: key(0x22),
        presharedKey: key(0x33),
        endpoint: { address: parseIpv4('192.0.2.2'), port: 6785 },
        keepalive: 25,
        allowedIps: [parseCidr('10.40.0.0/13')],
      },
      {
        kind: 'update',
        publicKey: key(0x44),
        endpoint: { address: parseIp('2001:db8::1'), port: 6785 },
        allowedIps: [{ base: parseIp('fd00::'), length: 8 }],
        replaceAllowedIps: true,
      },
      { kind: 'remove', publicKey: key(0x55) },
    ]
    const messages = encodeDeviceChanges('weft-wg', { privateKey: key(0x11), listenPort: 6785, mark: 0x10, peers })
    expect(messages.map(toHex)).toEqual([toHex(vector('netlink/wireguard-set'))])
  })

  test('a device is read', () => {
    const peer: WireguardPeer = {
      publicKey: key(0x22),
      presharedKey: undefined,
      endpoint: { address: parseIpv4('192.0.2.2'), port: 6785 },
      keepalive: 25,
      lastHandshake: 1_000_000,
      bytesReceived: 92,
      bytesSent: 148,
      allowedIps: [parseCidr('10.40.0.0/13')],
    }
    expect(decodeDevicePart(vector('netlink/wireguard-get'))).toEqual({
      index: 7,
      name: 'weft-wg',
      publicKey: key(0x12),
      listenPort: 6785,
      mark: 0,
      peers: [peer],
    })
  })
})

test('a family is asked for by its name, and found by its number', () => {
  expect(toHex(encodeFamilyQuery('wireguard'))).toBe(`${'03010000'}${'0e000200'}${Buffer.from('wireguard\0').toString('hex')}${'0000'}`)
  expect(decodeFamily(Uint8Array.of(1, 2, 0, 0, 6, 0, 1, 0, 0x1f, 0, 0, 0))).toBe(0x1f)
  expect(decodeFamily(Uint8Array.of(1, 2, 0, 0))).toBeUndefined()
})

test('a device is asked for by its name', () => {
  expect(toHex(encodeDeviceDump('weft-wg'))).toBe(`${'00010000'}${'0c000200'}${Buffer.from('weft-wg\0').toString('hex')}`)
})

test('a preshared key is taken away by one of zeros, and left alone where none is named', () => {
  const [away] = encodeDeviceChanges('w', { peers: [{ kind: 'update', publicKey: key(1), presharedKey: undefined }] })
  const [alone] = encodeDeviceChanges('w', { peers: [{ kind: 'update', publicKey: key(1) }] })
  expect(toHex(away ?? key(0))).toContain(`24000200${'00'.repeat(32)}`)
  expect(toHex(alone ?? key(0))).not.toContain('24000200')
})

test('that all other peers are to go is said once', () => {
  const peers = manyPeers(300)
  const messages = encodeDeviceChanges('w', { replacePeers: true, peers })
  expect(messages.length).toBeGreaterThan(1)
  expect(messages.map((message) => toHex(message).includes('0800050001000000'))).toEqual(messages.map((_, index) => index === 0))
})

const anyIp: fc.Arbitrary<Ip> = fc.oneof(
  fc.nat(0xffff_ffff).map(ipv4),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => ipOf(bytes) ?? parseIp('2001:db8::')),
)
const anyPrefix: fc.Arbitrary<Prefix> = fc.oneof(
  fc
    .tuple(fc.nat(0xffff_ffff), fc.integer({ min: 0, max: 32 }))
    .map(([number, length]) => cidr(ipv4(number - (number % 2 ** (32 - length))), length)),
  fc.integer({ min: 0, max: 0xffff }).map((number) => ({ base: parseIp(`fd00:0:${number.toString(16)}::`), length: 48 })),
)
const anyKey = fc.uint8Array({ minLength: 32, maxLength: 32 }).filter((bytes) => bytes.some((byte) => byte !== 0))
const anyPeer = fc.record({
  publicKey: anyKey,
  presharedKey: fc.option(anyKey, { nil: undefined }),
  endpoint: fc.record({ address: anyIp, port: fc.nat(0xffff) }),
  keepalive: fc.nat(0xffff),
  allowedIps: fc.array(anyPrefix, { maxLength: 3 }),
})

function manyPeers(count: number): readonly PeerChange[] {
  return Array.from({ length: count }, (_, index) => ({
    kind: 'add' as const,
    publicKey: Uint8Array.of(...new Uint8Array(30), (index + 1) >> 8, (index + 1) & 255),
    allowedIps: [cidr(ipv4(index * 256), 24)],
  }))
}

function allowedIpsOf(change: PeerChange): readonly Prefix[] {
  return change.kind === 'remove' ? [] : (change.allowedIps ?? [])
}

/** What the kernel would tell after it got these messages: the same attributes, read back. */
function readBack(messages: readonly Uint8Array[]): WireguardDevice | undefined {
  const [first, ...others] = messages.map(decodeDevicePart).filter((part) => part !== undefined)
  if (first === undefined) return undefined
  const peers = [first, ...others].flatMap((part) => part.peers)
  return joinDeviceParts([{ ...first, index: 7, peers: [] }, ...peers.map((peer) => ({ ...first, index: 0, peers: [peer] }))])
}

describe('what is written is read again', () => {
  test('a device with peers', () => {
    fc.assert(
      fc.property(
        fc.record({ listenPort: fc.nat(0xffff), mark: fc.nat(0xffff_ffff) }),
        fc.uniqueArray(anyPeer, { maxLength: 8, selector: ({ publicKey }) => toHex(publicKey) }),
        (device, peers) => {
          const messages = encodeDeviceChanges('weft-wg', { ...device, peers: peers.map((peer) => ({ kind: 'add', ...peer })) })
          const zeros = { lastHandshake: 0, bytesReceived: 0, bytesSent: 0 }
          const expected = peers.map((peer) => ({ ...peer, ...zeros }))
          expect(readBack(messages)).toEqual({ index: 7, name: 'weft-wg', publicKey: undefined, ...device, peers: expected })
        },
      ),
      { ...SEED, numRuns: 100 },
    )
  })

  test('1,000 peers fill messages that are neither too big nor many', () => {
    const messages = encodeDeviceChanges('weft-wg', { peers: manyPeers(1_000) })
    expect(messages.map(({ length }) => length <= MESSAGE_BYTES_MAX)).not.toContain(false)
    expect(messages.length).toBeLessThan(8)
    expect(readBack(messages)?.peers.map(({ publicKey }) => toHex(publicKey))).toEqual(
      manyPeers(1_000).map(({ publicKey }) => toHex(publicKey)),
    )
  })

  test('a peer with more allowed IPs than fit in a message goes in several', () => {
    const prefixes = Array.from(
      { length: 3_000 },
      (_, index): Prefix =>
        index % 2 === 0 ? cidr(ipv4(index * 256), 24) : { base: parseIp(`fd00:0:${index.toString(16)}::`), length: 48 },
    )
    const peers: readonly PeerChange[] = [
      { kind: 'add', publicKey: key(1), replaceAllowedIps: true, allowedIps: prefixes },
      ...manyPeers(3),
    ]
    const messages = encodeDeviceChanges('weft-wg', { peers })
    expect(messages.length).toBeGreaterThan(3)
    expect(messages.map(({ length }) => length <= MESSAGE_BYTES_MAX)).not.toContain(false)
    expect(readBack(messages)?.peers.map(({ allowedIps }) => allowedIps)).toEqual([prefixes, ...manyPeers(3).map(allowedIpsOf)])
    const replacing = messages.filter((message) => toHex(message).includes('0800030002000000'))
    expect(replacing).toEqual(messages.slice(0, 1))
  })

  test('an address with its port', () => {
    fc.assert(
      fc.property(anyIp, fc.nat(0xffff), (address, port) => {
        expect(decodeSocketAddress(encodeSocketAddress({ address, port }))).toEqual({ address, port })
        expect(ipOf(ipBytes(address))).toBe(address)
      }),
      SEED,
    )
  })
})

describe('the messages of a dump', () => {
  const peer = (byte: number, ...prefixes: readonly string[]): WireguardPeer => ({
    publicKey: key(byte),
    presharedKey: undefined,
    endpoint: undefined,
    keepalive: 0,
    lastHandshake: 0,
    bytesReceived: 0,
    bytesSent: 0,
    allowedIps: prefixes.map(parseCidr),
  })
  const part = (index: number, ...peers: readonly WireguardPeer[]): WireguardDevice => ({
    index,
    name: index === 0 ? '' : 'weft-wg',
    publicKey: undefined,
    listenPort: index === 0 ? 0 : 6785,
    mark: 0,
    peers,
  })

  test('are one device, and a peer that goes on in the next is one peer', () => {
    const parts = [
      part(7, peer(1, '10.0.0.0/16'), peer(2, '10.1.0.0/16')),
      part(0, peer(2, '10.2.0.0/16'), peer(3)),
      part(0),
      part(0, peer(4)),
    ]
    expect(joinDeviceParts(parts)).toEqual(part(7, peer(1, '10.0.0.0/16'), peer(2, '10.1.0.0/16', '10.2.0.0/16'), peer(3), peer(4)))
  })

  test('are no device when there are none, or none with an index', () => {
    expect(joinDeviceParts([])).toBeUndefined()
    expect(joinDeviceParts([part(0, peer(1))])).toBeUndefined()
  })
})

describe('no bytes make a reader throw', () => {
  test.each(Object.entries({ decodeDevicePart, decodeFamily, decodeGeneric, decodeSocketAddress, ipOf }))('%s', (_name, read) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 160 }), (bytes) => void read(bytes)),
      SEED,
    )
  })

  test('a well-formed message, cut or with one byte changed', () => {
    const golden = vector('netlink/wireguard-get')
    fc.assert(
      fc.property(fc.nat(golden.length - 1), fc.nat(255), (place, byte) => {
        void decodeDevicePart(golden.with(place, byte))
        void decodeDevicePart(golden.subarray(0, place))
      }),
      { ...SEED, numRuns: 2_000 },
    )
  })
})
