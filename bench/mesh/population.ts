/** The peers of a large mesh, made up: who they are, and what each says about itself. */
import { ipv4, parseIpv4 } from '../../mesh/base/address.ts'
import { WeftError } from '../../mesh/base/errors.ts'
import { type CryptoSuite, SEED_BYTES } from '../../mesh/crypto.ts'
import { MESH_PORT } from '../../mesh/endpoint.ts'
import { type Identity, identityFromSeed } from '../../mesh/identity.ts'
import { clusterKey, type KeyId, SECRET_BYTES } from '../../mesh/keyring.ts'
import { type OwnFacts, Peers } from '../../mesh/peers.ts'

const INCARNATION = 1_700_000_000_000
const FIRST_ADDRESS = parseIpv4('198.18.0.1')

export interface Peer {
  readonly identity: Identity
  readonly facts: OwnFacts
}

/** `count` peers, each connected with the `degree` next to it in a circle: the size of a record depends on how many there are, not on which. */
export function population(count: number, degree: number, crypto: CryptoSuite): readonly Peer[] {
  const identities = Array.from({ length: count }, (_, index) => identityOf(index, crypto))
  const keyId = clusterKey(new Uint8Array(SECRET_BYTES).fill(1), crypto).id
  return identities.map((identity, index) => ({ identity, facts: factsOf(index, { identities, degree, keyId }) }))
}

/** Somebody whose records are in nobody's state but its own. */
export function stranger(count: number, crypto: CryptoSuite): Peers {
  return new Peers({ identity: identityOf(count, crypto), crypto, incarnation: INCARNATION })
}

/** The first record of each and the one after it, each as its owner hands it out. */
export function twoRecords({ identity, facts }: Peer, crypto: CryptoSuite): readonly [Uint8Array, Uint8Array] {
  const peers = new Peers({ identity, crypto, incarnation: INCARNATION })
  const [first, second] = [peers.publish(facts), peers.publish({ ...facts, mtuBytes: facts.mtuBytes - 1 })]
  if (first === undefined || second === undefined) throw new WeftError('INPUT', 'a record that says nothing new')
  return [first.delta, second.delta]
}

interface Circle {
  readonly identities: readonly Identity[]
  readonly degree: number
  readonly keyId: KeyId
}

function factsOf(index: number, { identities, degree, keyId }: Circle): OwnFacts {
  const steps = Array.from({ length: degree / 2 }, (_, step) => step + 1).flatMap((step) => [step, -step])
  const neighbours = steps.flatMap((step) => {
    const other = (index + step + identities.length) % identities.length
    const identity = identities[other]
    return identity === undefined ? [] : [{ name: identity.name, address: addressOf(other), port: MESH_PORT, outbound: step > 0 }]
  })
  return {
    nickname: `node-${index}.example.internal`,
    addresses: [addressOf(index)],
    port: MESH_PORT,
    mtuBytes: 1_500,
    zone: 'zone-1',
    datapath: new Uint8Array(),
    keyIds: [keyId],
    neighbours: neighbours.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    hasLeft: false,
  }
}

function addressOf(index: number): ReturnType<typeof ipv4> {
  return ipv4(FIRST_ADDRESS + index)
}

function identityOf(index: number, crypto: CryptoSuite): Identity {
  const seed = new Uint8Array(SEED_BYTES)
  new DataView(seed.buffer).setUint32(0, index + 1)
  return identityFromSeed(seed, crypto)
}
