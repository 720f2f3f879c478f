/** Peers and records for tests of the mesh. */
import fc from 'fast-check'
import { ipv4, parseIpv4 } from '../../mesh/base/address.ts'
import type { PeerName } from '../../mesh/base/brand.ts'
import { concatBytes } from '../../mesh/base/bytes.ts'
import { type Ip, parseIp } from '../../mesh/base/ip.ts'
import { type CryptoSuite, DATA_KEY_BYTES, PUBLIC_KEY_BYTES } from '../../mesh/crypto.ts'
import { type Identity, identityFromSeed } from '../../mesh/identity.ts'
import { type PeerRecord, type RecordFacts, type SignedRecord, signRecord } from '../../mesh/record.ts'

/** Addresses of both families, IPv6 ones with and without runs of zeros. */
export const anyIp: fc.Arbitrary<Ip> = fc.oneof(
  fc.nat(0xffff_ffff).map(ipv4),
  fc
    .array(fc.oneof(fc.constant(0), fc.nat(0xffff)), { minLength: 7, maxLength: 7 })
    .map((groups) => parseIp([0x2001, ...groups].map((group) => group.toString(16)).join(':'))),
)

/** The identity number `index`, 0 to 255. */
export function identityOf(index: number, crypto: CryptoSuite): Identity {
  return identityFromSeed(new Uint8Array(32).fill(index), crypto)
}

export function recordOf(identity: Identity, crypto: CryptoSuite, facts: Partial<RecordFacts> = {}): SignedRecord {
  return signRecord({ ...plainFacts, ...facts }, identity, crypto)
}

/** One that nobody has signed, for those who only read it. */
export function bareRecord(name: PeerName, facts: Partial<RecordFacts> = {}): PeerRecord {
  return { ...plainFacts, name, publicKey: new Uint8Array(PUBLIC_KEY_BYTES), dataKey: new Uint8Array(DATA_KEY_BYTES), ...facts }
}

/** What `Peers` takes for this record. */
export function deltaOf({ signed, signature }: SignedRecord): Uint8Array {
  return concatBytes([signature, signed])
}

/** `bytes` with one bit flipped. */
export function withBitFlipped(bytes: Uint8Array, bit: number): Uint8Array {
  const flipped = concatBytes([bytes])
  flipped[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
  return flipped
}

export const plainFacts: RecordFacts = {
  incarnation: 1_000,
  version: 1,
  nickname: 'node',
  addresses: [parseIpv4('198.18.0.1')],
  port: 6_783,
  mtuBytes: 1_500,
  zone: undefined,
  keyIds: [],
  neighbours: [],
  hasLeft: false,
  datapath: new Uint8Array(),
}
