/** Real meshes on loopback: real cryptography, real TCP, real time. */
import { type Ipv4, parseIpv4 } from '../../mesh/base/address.ts'
import { systemClock } from '../../mesh/base/clock.ts'
import { silentLog } from '../../mesh/base/log.ts'
import { systemRandom } from '../../mesh/base/random.ts'
import { loadCrypto, SEED_BYTES } from '../../mesh/crypto.ts'
import type { Place } from '../../mesh/endpoint.ts'
import { identityFromSeed } from '../../mesh/identity.ts'
import { Mesh } from '../../mesh/mesh.ts'
import type { MeshOptions } from '../../mesh/options.ts'
import { netTransport } from '../../mesh/transport-net.ts'
import { keyringOf } from './keyrings.ts'

const crypto = await loadCrypto()
const LOOPBACK: Ipv4 = parseIpv4('127.0.0.1')

/** A mesh of a new identity on a port of its own, unless `options` say otherwise. */
export function startTcpMesh(nickname: string, options: Partial<MeshOptions> = {}): Promise<Mesh> {
  return Mesh.start({
    identity: identityFromSeed(crypto.randomBytes(SEED_BYTES), crypto),
    nickname,
    cluster: 'test',
    keyring: keyringOf(1, crypto),
    listen: { host: '127.0.0.1', port: 0 },
    targets: [],
    transport: netTransport({ clock: systemClock, log: silentLog }),
    crypto,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    addresses: [LOOPBACK],
    mtuBytes: 65_535,
    zone: undefined,
    ...options,
  })
}

/** How to dial it. */
export function targetOf(mesh: Mesh): Place {
  return { host: '127.0.0.1', port: mesh.port }
}

/** Names of the peers that it has an established connection with, in order; one per connection. */
export function connectedTo(mesh: Mesh): readonly string[] {
  const names = mesh.connections().map((connection) => (connection.state === 'established' ? connection.nickname : undefined))
  return names.filter((name) => name !== undefined).sort()
}
