/** What a lab remembers between commands: versioned JSON files, checked when read, replaced as a whole when written. */
import { readFile, rename, writeFile } from 'node:fs/promises'
import { z } from 'zod'
import { isPeerName, type PeerName } from '../../mesh/base/brand.ts'
import { errnoCode } from '../../mesh/base/errors.ts'
import { err, ok, type Result } from '../../mesh/base/result.ts'
import { ZONE_LENGTH_MAX } from '../../mesh/record.ts'
import { isPrintable } from '../../mesh/text.ts'
import { type Cut, type CutKind, isCutKind } from './cuts.ts'
import { DELAY_US_MAX, type Impairment, PPM_MAX, RATE_KBIT_MAX, SEED_MAX } from './impairment.ts'
import {
  HOSTS_MAX,
  type HostName,
  isHostName,
  isLabName,
  isPodName,
  type LabName,
  type PodName,
  UNDERLAYS,
  type UnderlayKind,
} from './names.ts'

/** IPv4's least (RFC 791), and what a Linux device carries at most. */
export const MTU_BYTES_MIN = 576
export const MTU_BYTES_MAX = 65_535

/** Every direction of every pair, and some protocols of each. */
const CUTS_MAX = 4 * HOSTS_MAX * HOSTS_MAX

/** The file `lab.json`. */
export interface LabState {
  readonly version: 2
  readonly name: LabName
  /** `building` until `lab up` has ended well. */
  readonly phase: 'building' | 'ready'
  readonly underlay: UnderlayKind
  /** The routers' --ipalloc-range; absent for their default. */
  readonly range?: string | undefined
  readonly hosts: readonly LabHost[]
  readonly cuts: readonly Cut[]
  /** One of a host at most. */
  readonly impairments: readonly Impairment[]
}

export interface LabHost {
  readonly name: HostName
  /** On the underlay, dotted. */
  readonly address: string
  /** Its router's name, of the identity that was made for it. */
  readonly peer: PeerName
  /** What its router says of where it is. */
  readonly zone: string
  /** Of its device on the underlay. */
  readonly mtuBytes: number
  /** What really passes; another than `mtuBytes` where the host does not know of it. */
  readonly farMtuBytes: number
  /** It is behind address translation, and others see this one. */
  readonly publicAddress?: string | undefined
}

/** A process id and when that process began, in clock ticks since boot: a later process with the same id began later. */
export interface ProcessIdentity {
  readonly pid: number
  readonly startTicks: number
}

/** A host's `router.json`: the router that was started last. */
export interface RouterRecord {
  readonly version: 1
  readonly identity: ProcessIdentity
}

/** One pod, as the container runtime of its host knows it. */
export interface PodRecord {
  readonly version: 1
  readonly name: PodName
  readonly host: HostName
  /** A new one for every pod that was ever made. */
  readonly containerId: string
  /** The last plugin's answer to ADD; absent until ADD has succeeded. */
  readonly result?: Readonly<Record<string, unknown>> | undefined
  /** The IPv4 address in it, dotted. */
  readonly address?: string | undefined
  /** The IPv6 address in it, where there is one. */
  readonly address6?: string | undefined
}

export interface StateFault {
  readonly code: 'missing' | 'damaged'
  /** For people: which file, and what is wrong with it. */
  readonly detail: string
}

const VERSION = z.literal(1)
const labName = z.custom<LabName>((value) => typeof value === 'string' && isLabName(value), 'not the name of a lab')
const hostName = z.custom<HostName>((value) => typeof value === 'string' && isHostName(value), 'not the name of a host')
const podName = z.custom<PodName>((value) => typeof value === 'string' && isPodName(value), 'not the name of a pod')

const peerName = z.custom<PeerName>((value) => typeof value === 'string' && isPeerName(value), 'not the name of a peer')

const mtuBytes = z.int().min(MTU_BYTES_MIN).max(MTU_BYTES_MAX)
const share = z.int().min(0).max(PPM_MAX)
const zone = z.string().refine((text) => isPrintable(text, ZONE_LENGTH_MAX), 'not the name of a zone')
const cutKind = z.custom<CutKind>((value) => typeof value === 'string' && isCutKind(value), 'not what can be cut')

const labSchema: z.ZodType<LabState> = z.strictObject({
  version: z.literal(2),
  name: labName,
  phase: z.enum(['building', 'ready']),
  underlay: z.enum(UNDERLAYS),
  range: z.cidrv4().optional(),
  hosts: z
    .array(
      z.strictObject({
        name: hostName,
        address: z.ipv4(),
        peer: peerName,
        zone,
        mtuBytes,
        farMtuBytes: mtuBytes,
        publicAddress: z.ipv4().optional(),
      }),
    )
    .min(1)
    .max(HOSTS_MAX),
  cuts: z.array(z.strictObject({ from: hostName, to: hostName, what: cutKind })).max(CUTS_MAX),
  impairments: z
    .array(
      z.strictObject({
        host: hostName,
        lossPpm: share,
        duplicatePpm: share,
        reorderPpm: share,
        delayUs: z.int().min(0).max(DELAY_US_MAX),
        rateKbit: z.int().min(0).max(RATE_KBIT_MAX),
        seed: z.int().min(0).max(SEED_MAX),
      }),
    )
    .max(HOSTS_MAX),
})

const routerSchema: z.ZodType<RouterRecord> = z.strictObject({
  version: VERSION,
  identity: z.strictObject({ pid: z.int().min(2), startTicks: z.int().min(0) }),
})

const podSchema: z.ZodType<PodRecord> = z.strictObject({
  version: VERSION,
  name: podName,
  host: hostName,
  containerId: z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/, 'not a container id'),
  result: z.record(z.string(), z.unknown()).optional(),
  address: z.ipv4().optional(),
  address6: z.ipv6().optional(),
})

export const readLab = (path: string): Promise<Result<LabState, StateFault>> => read(path, labSchema)
export const readRouter = (path: string): Promise<Result<RouterRecord, StateFault>> => read(path, routerSchema)
export const readPod = (path: string): Promise<Result<PodRecord, StateFault>> => read(path, podSchema)

/** At any time the old file or the new one is there, never a part. Each file has one writer at a time. */
export async function writeState(path: string, state: LabState | RouterRecord | PodRecord): Promise<void> {
  const temporary = `${path}.new`
  await writeFile(temporary, `${JSON.stringify(state, undefined, 2)}\n`, { mode: 0o600 })
  await rename(temporary, path)
}

async function read<T>(path: string, schema: z.ZodType<T>): Promise<Result<T, StateFault>> {
  let document: unknown
  try {
    document = JSON.parse(await readFile(path, 'utf8'))
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return err({ code: 'missing', detail: `there is no ${path}` })
    return err({ code: 'damaged', detail: `${path}: ${error instanceof Error ? error.message : String(error)}` })
  }
  const parsed = schema.safeParse(document)
  return parsed.success ? ok(parsed.data) : err({ code: 'damaged', detail: `${path}: ${z.prettifyError(parsed.error)}` })
}
