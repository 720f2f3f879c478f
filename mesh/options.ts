/** What a mesh is told at its start, and what it may be told later. */
import type { Clock } from './base/clock.ts'
import { WeftError } from './base/errors.ts'
import type { Ip } from './base/ip.ts'
import type { Logger } from './base/log.ts'
import type { Random } from './base/random.ts'
import type { CryptoSuite } from './crypto.ts'
import type { Place, Target } from './endpoint.ts'
import type { Identity } from './identity.ts'
import type { Keyring } from './keyring.ts'
import {
  ADDRESSES_MAX,
  DATAPATH_BYTES_MAX,
  MTU_BYTES_MAX,
  MTU_BYTES_MIN,
  NICKNAME_LENGTH_MAX,
  type RecordReader,
  ZONE_LENGTH_MAX,
} from './record.ts'
import { isPrintable } from './text.ts'
import type { Transport } from './transport.ts'

/** What the rest of the router finds out about this node, for the others to know. */
export interface MeshFacts {
  /** Underlay addresses of either family, best first, at most `ADDRESSES_MAX`. */
  readonly addresses: readonly Ip[]
  readonly mtuBytes: number
  readonly zone: string | undefined
  /** For the data paths of other nodes to read. */
  readonly datapath: Uint8Array
}

export interface MeshOptions extends Omit<MeshFacts, 'datapath'> {
  readonly datapath?: Uint8Array
  readonly identity: Identity
  /** Pods have addresses of this node already: of two processes with one identity, that decides. */
  readonly hadPods?: boolean
  /** Told once: ours is a copy of the identity of a living process at this address. This mesh is to end, and another to start as somebody else. */
  readonly yields?: (to: Ip) => void
  /** 1 to 63 printable characters. */
  readonly nickname: string
  /** Only peers of the same cluster connect. */
  readonly cluster: string
  /** The secrets of the cluster as they are now: only who has one of them connects. */
  readonly keyring: () => Keyring
  /** Port 0 takes any free one. */
  readonly listen: Place
  readonly targets: readonly Target[]
  /** What `records` told in an earlier life. It need not be trusted: records are signed; what is wrong with it is counted and skipped. */
  readonly known?: readonly Uint8Array[]
  /** How bytes become a record; `parseRecord` unless told otherwise. */
  readonly readRecord?: RecordReader
  readonly transport: Transport
  readonly crypto: CryptoSuite
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
}

/** @throws {WeftError} USAGE when it is not 1 to `NICKNAME_LENGTH_MAX` printable characters. */
export function checkNickname(nickname: string): void {
  if (isPrintable(nickname, NICKNAME_LENGTH_MAX)) return
  throw new WeftError('USAGE', `the nickname ${JSON.stringify(nickname)} is not 1 to ${NICKNAME_LENGTH_MAX} printable characters`)
}

const NOTHING = new Uint8Array()

/** The facts alone. @throws {WeftError} USAGE when one is out of its limits. */
export function checkedFacts({ addresses, mtuBytes, zone, datapath = NOTHING }: Pick<MeshOptions, keyof MeshFacts>): MeshFacts {
  if (addresses.length > ADDRESSES_MAX) throw new WeftError('USAGE', `more than ${ADDRESSES_MAX} underlay addresses`)
  if (!(Number.isInteger(mtuBytes) && mtuBytes >= MTU_BYTES_MIN && mtuBytes <= MTU_BYTES_MAX)) {
    throw new WeftError('USAGE', `an underlay MTU of ${mtuBytes}, not ${MTU_BYTES_MIN} to ${MTU_BYTES_MAX}`)
  }
  if (zone !== undefined && !isPrintable(zone, ZONE_LENGTH_MAX))
    throw new WeftError('USAGE', `the zone ${JSON.stringify(zone)} is not printable`)
  if (datapath.length > DATAPATH_BYTES_MAX)
    throw new WeftError('USAGE', `${datapath.length} bytes of the data path in a record, more than ${DATAPATH_BYTES_MAX}`)
  return { addresses, mtuBytes, zone, datapath }
}
