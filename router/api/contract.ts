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
  /** Where it is, if it says so. */
  readonly zone?: string
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
  /** The name that this node had before, until when (ISO 8601), and why it has given it up. */
  readonly formerly?: { readonly name: string; readonly until: string; readonly reason: string }
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

/** How this router comes to a ring, when it has none. */
export type BootstrapReport =
  | { readonly mode: 'observer' }
  /** Which peers, or who names them. */
  | { readonly mode: 'seed'; readonly source: string }
  | {
      readonly mode: 'consensus'
      /** How many peers vote, and how many of them decide. */
      readonly voters: number
      readonly quorum: number
      /** Those in reach, without ourselves. */
      readonly heard: readonly PeerLabel[]
      /** Whose ballot is the highest that we have promised, if there was one, and its round. */
      readonly leader?: PeerLabel
      readonly round: number
    }

export interface PeerLabel {
  readonly name: string
  readonly nickname: string
}

export interface IpamReport {
  /** Weave Net's words: `ready`, `waiting for IP(s) to become available`, … */
  readonly status: string
  readonly bootstrap: BootstrapReport
  /** Why there is no ring yet. */
  readonly waiting?: string
  /** The id of our ring: equal on all peers that share one. */
  readonly ring?: string
  /** Rings of other beginnings that have met ours, and who has them. */
  readonly rivals: readonly { readonly ring: string; readonly peers: readonly PeerLabel[] }[]
  /** What a person has to decide, a line each. */
  readonly notices: readonly string[]
  readonly ready: boolean
  readonly range: string
  /** The range of IPv6 beside it, where there is one: an address has the same place in both. */
  readonly range6?: string
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
  /** `address6` is reserved with `address`; a pod that was made where there was no IPv6 does not use it. */
  readonly allocations: readonly { readonly attachment: string; readonly address: string; readonly address6?: string }[]
  /** Attachments that wait for an address. */
  readonly pending: readonly string[]
  /** Why nothing can be written to the journal, while that is so. */
  readonly journalFault?: string
  /** Why no address is given out: some of this node's past is lost, and other peers have to tell of it. */
  readonly doubt?: string
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
  /** Its IPv6 address, where pods get IPv6. */
  readonly hostAddress6?: string
  /** Why pods of this node get no IPv6, although the cluster has a range of it. */
  readonly ipv6Fault?: string
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

/** What one peer says of its addresses, and what is known of it. */
export interface PeerAccount {
  readonly name: string
  readonly nickname: string
  readonly state: (typeof PEER_STATES)[number]
  /** Prefixes that it owns, by the ring of the router that answers. */
  readonly ranges: readonly string[]
  /** Whether it has the same ring; `apart` when its ring did not begin as ours did, `none` when it has none, `unheard` when it did not answer. */
  readonly ring: 'same' | 'differs' | 'apart' | 'none' | 'unheard'
  /** Addresses allocated there, and attachments that exist there; absent when it did not tell. */
  readonly allocated?: number
  readonly living?: number
  /** What does not fit, a sentence each. */
  readonly findings: readonly string[]
}

/** Whether each address of the cluster has one owner, and each that is allocated belongs to an attachment that exists. */
export interface CheckReport {
  readonly ok: boolean
  readonly range: string
  readonly addresses: number
  readonly allocated: number
  readonly living: number
  readonly findings: readonly string[]
  /** The router that answers first, then the others by name. */
  readonly peers: readonly PeerAccount[]
}

export interface GcReport {
  /** Nothing was freed; this is what would be. */
  readonly dryRun: boolean
  readonly freed: readonly { readonly attachment: string; readonly address: string }[]
}

export interface RecoverReport {
  /** Peers that have not told what they know. */
  readonly without: readonly string[]
}
