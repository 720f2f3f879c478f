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
import { type BenchContext, compare, type Row } from '../form.ts'
import { containerId } from './client.ts'
import { WEAVE_ALLOCATION, WEAVE_NAME } from './weave.ts'

const SELF: PeerName = parsePeerName('5e'.repeat(8))

/** Meant for files that outlive a reboot: on a disk, where /tmp and /run may be memory. */
const DISK_DIRECTORY = '/var/tmp'

const PAIRS = 3_000
const PAIRS_QUICK = 500
/** Each waits for the device twice. */
const PAIRS_SYNCED = 200

/** What Weave Net's BoltDB writes at least in one transaction: a page of data, and one that leads to it. */
const BOLT_TRANSACTION_BYTES = 2 * 4_096

interface Counts {
  bytes: number
  syncs: number
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
  const common = { case: 'IPAM alone', ours: asIs.map(({ perSecond }) => perSecond) } as const
  return [
    compare({
      ...common,
      metric: 'allocate and free',
      unit: '1/s',
      better: 'higher',
      peer: WEAVE_NAME,
      theirs: WEAVE_ALLOCATION.perSecond,
      note: ALONE_NOTE,
    }),
    compare({
      case: 'IPAM alone, all synced',
      metric: 'allocate and free, each waited for',
      unit: '1/s',
      better: 'higher',
      ours: synced.map(({ perSecond }) => perSecond),
      peer: WEAVE_NAME,
      theirs: WEAVE_ALLOCATION.perSecond,
      note: SYNCED_NOTE,
    }),
    compare({
      case: 'journal',
      metric: 'written of an address, given and freed',
      unit: 'B',
      better: 'lower',
      ours: asIs.map(({ bytesPerPair }) => bytesPerPair),
      peer: `${WEAVE_NAME}, one transaction`,
      theirs: BOLT_TRANSACTION_BYTES,
      note: 'rewritings included; the least that BoltDB can write, by its pages',
    }),
    compare({
      case: 'journal',
      metric: 'syncs of an address, given and freed',
      unit: '1',
      better: 'lower',
      ours: asIs.map(({ syncsPerPair }) => syncsPerPair),
      peer: `${WEAVE_NAME}, given only`,
      theirs: WEAVE_ALLOCATION.syncs,
      note: `of ${pairs}, with those of the first ring and of rewritings: allocations themselves are written, and not waited for`,
    }),
  ]
}

const ALONE_NOTE = 'in the process, without a socket: what IPAM has a share of in the rows of the socket'
const SYNCED_NOTE = 'what Weft does not do, as after a power loss the pods are gone too: two waits, on the disk of /var/tmp'

async function run(pairs: number, isSynced: boolean): Promise<Run> {
  const directory = await mkdtemp(join(DISK_DIRECTORY, 'weft-bench-'))
  try {
    const counts: Counts = { bytes: 0, syncs: 0 }
    const options = { self: SELF, universe: parseCidr('10.32.0.0/12'), init: { kind: 'seed', peers: [SELF] } } as const
    const disk = counted(openDisk(directory), counts, isSynced)
    await using ipam = Ipam.onDisk(disk, { ...options, clock: systemClock, random: seededRandom(1), log: silentLog })
    const start = systemClock.now()
    for (let number = 0; number < pairs; number++) await allocateAndFree(ipam, number)
    const seconds = (systemClock.now() - start) / 1_000
    return { perSecond: pairs / seconds, bytesPerPair: counts.bytes / pairs, syncsPerPair: counts.syncs / pairs }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

const forever = new AbortController().signal

async function allocateAndFree(ipam: Ipam, number: number): Promise<void> {
  const key = attachmentKey(containerId(number), 'eth0')
  const allocated = await ipam.allocate(key, forever)
  if (!allocated.ok) throw new WeftError('STATE', allocated.error.text)
  await ipam.free(key)
}
