/** What the routers of a lab say, and what the kernel says of them: read at one moment, or until something is so. */
import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { type Millis, millis } from '../../mesh/base/brand.ts'
import { deadline, sleep, systemClock } from '../../mesh/base/clock.ts'
import { WeftError } from '../../mesh/base/errors.ts'
import { PEER_STATES, type PeerReport } from '../../router/api/contract.ts'
import { ask } from '../../router/cli/client.ts'
import { mapBounded } from '../../router/lab/bounded.ts'
import { hostPaths } from '../../router/lab/paths.ts'
import { routerOf } from '../../router/lab/routers.ts'
import type { LabHost, LabState } from '../../router/lab/state.ts'

const POLL: Millis = millis(100)
/** The routers and this bench share the processors: asking all at once would be the load that is measured. */
const ASKED_AT_ONCE = 4

/** The part of a router's report that is looked at. */
export interface MeshReport {
  readonly connections: readonly { readonly state: string }[]
  readonly peers: readonly Pick<PeerReport, 'name' | 'state' | 'incarnation' | 'version'>[]
}

const reportSchema: z.ZodType<{ readonly router: MeshReport }> = z.object({
  router: z.object({
    connections: z.array(z.object({ state: z.string() })),
    peers: z.array(z.object({ name: z.string(), state: z.enum(PEER_STATES), incarnation: z.number(), version: z.number() })),
  }),
})

export async function reportOf(lab: LabState, host: LabHost): Promise<MeshReport> {
  const { body } = await ask(hostPaths(lab.name, host.name).apiSocket, 'GET', '/report')
  return reportSchema.parse(JSON.parse(body)).router
}

export function reportsOf(lab: LabState, hosts: readonly LabHost[]): Promise<readonly MeshReport[]> {
  return mapBounded(hosts, ASKED_AT_ONCE, (host) => reportOf(lab, host))
}

/** @param file below /proc/PID of the router's process. @throws {WeftError} UNREACHABLE when it does not run. */
export async function procFileOf(lab: LabState, host: LabHost, file: string): Promise<string> {
  const identity = await routerOf(lab, host)
  if (identity === undefined) throw new WeftError('UNREACHABLE', `the router of ${host.name} does not run`)
  return await readFile(`/proc/${identity.pid}/${file}`, 'utf8')
}

export interface Wait {
  readonly within: Millis
  readonly signal: AbortSignal
  /** For people: what is waited for. */
  readonly what: string
}

/** Waits until the reports of all `hosts` have been so once; the moment when the last was seen so. @throws {WeftError} UNREACHABLE that names the others. */
export async function untilAll(
  lab: LabState,
  hosts: readonly LabHost[],
  isSo: (report: MeshReport) => boolean,
  { within, signal, what }: Wait,
): Promise<Millis> {
  const limit = deadline(within)
  let waiting = hosts
  for (;;) {
    const reports = await reportsOf(lab, waiting)
    waiting = waiting.filter((_, index) => !isSo(reports[index] ?? { connections: [], peers: [] }))
    if (waiting.length === 0) return systemClock.now()
    const names = waiting.map(({ name }) => name).join(', ')
    if (limit.aborted) throw new WeftError('UNREACHABLE', `${what}: after ${within / 1_000} s not so on ${names}`)
    await sleep(POLL, signal)
  }
}
