/** The snapshot of a router that has just started and knows nobody. */
import type { Snapshot } from '../../router/api/contract.ts'

export const emptySnapshot: Snapshot = {
  ready: false,
  waitingFor: ['a ring of address ranges'],
  version: '0.1.0',
  router: {
    protocol: { min: 2, max: 2 },
    name: 'aaaaaaaaaaaaaaaa',
    nickname: 'a',
    encryption: { key: '1a2b3c4d', open: false },
    peerDiscovery: true,
    port: 6783,
    targets: [],
    connections: [],
    peers: [],
    faults: {},
  },
  ipam: {
    status: 'idle',
    ready: false,
    range: '10.32.0.0/12',
    rangeSize: 1_048_576,
    activeIps: 0,
    owners: [],
    entries: [],
    allocations: [],
    pending: [],
    faults: [],
  },
  datapath: {
    link: 'weft-vx',
    port: 6784,
    underlay: '198.18.0.1',
    underlayMtuBytes: 1500,
    podMtuBytes: 1450,
    routesWanted: 0,
    routesPresent: 0,
    repairs: 0,
    pods: 0,
    unknownOwners: [],
  },
}
