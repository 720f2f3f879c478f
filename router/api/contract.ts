/** What the API on the unix socket says: one snapshot of the router, of which every answer is a part. */

/** States of a connection, in the order in which they are counted and listed (Weave Net's words). */
export const CONNECTION_STATES = ['established', 'pending', 'retrying', 'failed', 'connecting'] as const
export type ConnectionState = (typeof CONNECTION_STATES)[number]

export interface ConnectionReport {
  /** host:port of the other side. */
  readonly address: string
  readonly outbound: boolean
  readonly state: ConnectionState
  /** The peer, once known. */
  readonly name?: string
  readonly nickname?: string
  /** Why it is not established: one line. */
  readonly info?: string
}

/** Whether a peer lives: some path of connections leads to it; it has just been lost; it is lost for good, or has said goodbye. */
export const PEER_STATES = ['alive', 'suspect', 'dead', 'left'] as const

export interface PeerReport {
  readonly name: string
  readonly nickname: string
  readonly state: (typeof PEER_STATES)[number]
  /** Changes when the peer restarts. */
  readonly incarnation: number
  readonly version: number
  readonly addresses: readonly string[]
  readonly port: number
  readonly mtuBytes: number
  readonly connections: readonly {
    readonly name: string
    readonly nickname: string
    readonly address: string
    readonly outbound: boolean
  }[]
}

export interface RouterReport {
  readonly protocol: { readonly min: number; readonly max: number }
  readonly name: string
  readonly nickname: string
  /** Of what routers tell each other; pods' packets have their own, see `DatapathReport`. */
  readonly encryption: {
    /** The id of the key that handshakes are protected with. */
    readonly key: string
    /** Everybody has the key: there is no secret. */
    readonly open: boolean
  }
  readonly peerDiscovery: boolean
  readonly port: number
  readonly targets: readonly string[]
  readonly connections: readonly ConnectionReport[]
  readonly peers: readonly PeerReport[]
  /** Faults of other peers' messages since start, by code. */
  readonly faults: Readonly<Record<string, number>>
}

export interface OwnerReport {
  readonly name: string
  readonly nickname: string
  readonly addresses: number
  /** Of all addresses of the range, 0 to 1. */
  readonly share: number
  /** It is connected with us, directly or through others; we ourselves always are. */
  readonly reachable: boolean
  /** Addresses in use, where we know: our own. */
  readonly active?: number
  /** It was removed, and nobody has taken over these yet. */
  readonly retired: boolean
}

export interface IpamReport {
  /** Weave Net's words: `ready`, `waiting for IP(s) to become available`, … */
  readonly status: string
  readonly ready: boolean
  readonly range: string
  readonly rangeSize: number
  readonly activeIps: number
  readonly owners: readonly OwnerReport[]
  readonly entries: readonly {
    readonly token: string
    readonly size: number
    /** Empty for a range whose owner we have not heard of yet. */
    readonly peer: string
    readonly version: number
    readonly epoch: number
  }[]
  readonly allocations: readonly { readonly attachment: string; readonly address: string }[]
  /** Attachments that wait for an address. */
  readonly pending: readonly string[]
  /** What went wrong lately, the latest last. */
  readonly faults: readonly string[]
  /** By whom this node was removed from the cluster, if it was. */
  readonly retiredBy?: string
}

export interface DatapathReport {
  readonly link: string
  readonly port: number
  readonly underlay: string
  readonly underlayMtuBytes: number
  readonly podMtuBytes: number
  /** Our address in the cluster range, from which the host itself talks to pods. */
  readonly hostAddress?: string
  readonly routesWanted: number
  /** Of those, how many the kernel had when we last looked. */
  readonly routesPresent: number
  /** Objects that were put back because somebody had removed or changed them. */
  readonly repairs: number
  readonly pods: number
  /** Owners of ranges of whom no record is known. */
  readonly unknownOwners: readonly string[]
  /** The last thing the kernel refused, if it still stands. */
  readonly error?: string
}

export interface Snapshot {
  readonly ready: boolean
  /** What readiness still waits for. */
  readonly waitingFor: readonly string[]
  readonly version: string
  readonly router: RouterReport
  readonly ipam: IpamReport
  readonly datapath: DatapathReport
}

/** The keys of the cluster, as the router that answers has them. */
export interface KeysReport {
  /** Ids. */
  readonly primary: string
  readonly other?: string
  /** Where the rotation is, `idle` when none is under way. */
  readonly stage: 'idle' | 'accept' | 'promote' | 'drop'
  /** Live peers that have not come to this stage yet: `name(nickname)`. */
  readonly lagging: readonly string[]
}

/** A peer that was removed, and how many addresses were taken over from it. */
export interface RemovalReport {
  readonly removed: string
  readonly addresses: number
}

/** This node has left: who has its addresses now. */
export interface ResetReport {
  /** `name(nickname)`. */
  readonly heir: string
  readonly given: number
  /** In use by pods: nobody's until a takeover. */
  readonly kept: number
}

/** Every error answer of the API. */
export interface ApiError {
  readonly error: string
  readonly hint?: string
}
