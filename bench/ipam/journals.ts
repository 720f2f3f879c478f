/** IPAM in this process, on a disk whose calls are counted: what an address costs there, and what it would if each were waited for. */
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { attachmentKey } from '../../ipam/attachment.ts'
import { type Disk, openDisk } from '../../ipam/disk.ts'
import { Ipam } from '../../ipam/ipam.ts'
import { parseCidr } from '../../mesh/base/address.ts'
import { type PeerName, parsePeerName } from '../../mesh/base/brand.ts'
import { systemClock } from '../../mesh/base/clock.ts'
import { WeftError } from '../../mesh/base/errors.ts'
import { silentLog } from '../../mesh/base/log.ts'
import { seededRandom } from '../../mesh/base/random.ts'
import type { GossipPort } from '../../mesh/gossip.ts'
import { type BenchContext, compare, type Row } from '../form.ts'
import { containerId } from './client.ts'
import { WEAVE_ALLOCATION, WEAVE_NAME, WEAVE_RING_OF_3_BYTES, WHOLE_RING } from './weave.ts'

const SELF: PeerName = parsePeerName('5e'.repeat(8))

/** Meant for files that outlive a reboot: on a disk, where /tmp and /run may be memory. */
const DISK_DIRECTORY = '/var/tmp'

const PAIRS = 3_000
const PAIRS_QUICK = 500
/** Each waits for the device twice. */
const PAIRS_SYNCED = 200

/** BoltDB, Weave Net's store, writes at least so much in one transaction: a page of data, and one that leads to it. */
const BOLT_TRANSACTION_BYTES = 2 * 4_096

export interface Counts {
  bytes: number
  syncs: number
  /** What the mesh was asked to tell others. */
  gossipBytes: number
}

/** Counts what reaches `disk`. @param isSynced every append is then waited for. */
export function counted(disk: Disk, counts: Counts, isSynced: boolean): Disk {
  return {
    path: disk.path,
    read: () => disk.read(),
    append(bytes) {
      disk.append(bytes)
      counts.bytes += bytes.length
      if (isSynced) this.sync()
    },
    sync() {
      disk.sync()
      counts.syncs += 1
    },
    replace(bytes) {
      disk.replace(bytes)
      counts.bytes += bytes.length
      // Of the file, and of the directory.
      counts.syncs += 2
    },
    truncate(size) {
      disk.truncate(size)
      counts.syncs += 1
    },
    keepDamaged: (bytes) => disk.keepDamaged(bytes),
    beside: (name) => counted(disk.beside(name), counts, isSynced),
    [Symbol.dispose]: () => disk[Symbol.dispose](),
  }
}

interface Run {
  readonly perSecond: number
  readonly bytesPerPair: number
  readonly syncsPerPair: number
  readonly gossipPerPair: number
}

export async function measureJournals(context: BenchContext): Promise<readonly Row[]> {
  const pairs = context.quick ? PAIRS_QUICK : PAIRS
  const asIs: Run[] = []
  const synced: Run[] = []
  for (let round = 0; round < context.rounds; round++) {
    context.progress(`journal, round ${round + 1} of ${context.rounds}`)
    asIs.push(await run(pairs, false))
    synced.push(await run(PAIRS_SYNCED, true))
  }
  return [...rateRows(asIs, synced), ...costRows(asIs, pairs)]
}

function rateRows(asIs: readonly Run[], synced: readonly Run[]): readonly Row[] {
  const common = { case: 'IPAM alone', unit: '1/s', better: 'higher', peer: WEAVE_NAME, theirs: WEAVE_ALLOCATION.perSecond } as const
  const rates = (runs: readonly Run[]): readonly number[] => runs.map(({ perSecond }) => perSecond)
  return [
    compare({ ...common, metric: 'allocate and free, as one', ours: rates(asIs), note: ALONE_NOTE }),
    compare({ ...common, metric: 'allocate and free, each waited for', ours: rates(synced), note: SYNCED_NOTE }),
  ]
}

function costRows(runs: readonly Run[], pairs: number): readonly Row[] {
  const common = { case: `IPAM alone, ${pairs} given and freed`, better: 'lower' } as const
  return [
    compare({
      ...common,
      metric: 'journal, of each',
      unit: 'B',
      ours: runs.map(({ bytesPerPair }) => bytesPerPair),
      peer: 'BoltDB, one transaction',
      theirs: BOLT_TRANSACTION_BYTES,
      note: 'rewritings included; of what Weave Net writes there is no figure, so by pages the least that its store can write',
    }),
    compare({
      ...common,
      metric: 'syncs, of each',
      unit: '1',
      ours: runs.map(({ syncsPerPair }) => syncsPerPair),
      peer: `${WEAVE_NAME}, given only`,
      theirs: WEAVE_ALLOCATION.syncs,
      note: 'those of the first ring and of rewritings: allocations are written, and not waited for',
    }),
    compare({
      ...common,
      metric: 'handed to the mesh, of each',
      unit: 'B',
      ours: runs.map(({ gossipPerPair }) => gossipPerPair),
      peer: WHOLE_RING,
      theirs: WEAVE_RING_OF_3_BYTES,
      note: 'the first ring, once: an address out of one’s own ranges is nobody else’s news',
    }),
  ]
}

const ALONE_NOTE = 'in the process, without a socket: what IPAM has a share of in the rows of the socket'
const SYNCED_NOTE = 'what Weft does not do, as after a power loss the pods are gone too: two waits, on the disk of /var/tmp'

async function run(pairs: number, isSynced: boolean): Promise<Run> {
  const directory = await mkdtemp(join(DISK_DIRECTORY, 'weft-bench-'))
  try {
    const counts: Counts = { bytes: 0, syncs: 0, gossipBytes: 0 }
    const options = { self: SELF, universe: parseCidr('10.32.0.0/12'), init: { kind: 'seed', peers: [SELF] } } as const
    const disk = counted(openDisk(directory), counts, isSynced)
    await using ipam = Ipam.onDisk(disk, { ...options, clock: systemClock, random: seededRandom(1), log: silentLog })
    // Before it tells of the ring that it has begun.
    ipam.attach(listening(counts))
    const start = systemClock.now()
    for (let number = 0; number < pairs; number++) await allocateAndFree(ipam, number)
    const seconds = (systemClock.now() - start) / 1_000
    return {
      perSecond: pairs / seconds,
      bytesPerPair: counts.bytes / pairs,
      syncsPerPair: counts.syncs / pairs,
      gossipPerPair: counts.gossipBytes / pairs,
    }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** A mesh that takes everything, and in which nobody answers. */
function listening(counts: Counts): GossipPort {
  return {
    broadcast(delta) {
      counts.gossipBytes += delta.length
    },
    send(_to, message) {
      counts.gossipBytes += message.length
      return true
    },
    reachable: () => [],
  }
}

const forever = new AbortController().signal

async function allocateAndFree(ipam: Ipam, number: number): Promise<void> {
  const key = attachmentKey(containerId(number), 'eth0')
  const allocated = await ipam.allocate(key, forever)
  if (!allocated.ok) throw new WeftError('STATE', allocated.error.text)
  await ipam.free(key)
}
