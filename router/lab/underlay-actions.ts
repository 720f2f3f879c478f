/** What the commands on the network between the hosts do: cuts, MTUs and impairments. */
import { describeError, WeftError } from '../../mesh/base/errors.ts'
import { randomBelow } from '../../mesh/base/random.ts'
import type { CliIo } from '../cli/io.ts'
import { changing } from './actions.ts'
import { setCables } from './cables.ts'
import { addCuts, type Cut, type CutKind, describeCut, type Healing, healCuts } from './cuts.ts'
import { type Impairment, SEED_MAX } from './impairment.ts'
import { hostNamed, openLab, saveLab } from './lab.ts'
import { applyImpairment, type ImpairmentStatus, impairmentsOf } from './middlebox.ts'
import type { HostName, LabName } from './names.ts'
import type { LabPorts } from './ports.ts'
import type { LabHost, LabState } from './state.ts'
import { applyCuts } from './underlay.ts'

export interface CutOptions {
  /** Everything when undefined. */
  readonly what: CutKind | undefined
  readonly oneWay: boolean
}

/** All cuts after it. */
export function cut(
  io: CliIo,
  name: LabName,
  pair: readonly [string, string],
  { what = 'all', oneWay }: CutOptions,
): Promise<readonly Cut[]> {
  return changing(io, name, async () => {
    const lab = await openLab(name)
    const [from, to] = twoHosts(lab, pair)
    const there: Cut = { from, to, what }
    return await setCuts(lab, addCuts(lab.cuts, oneWay ? [there] : [there, { from: to, to: from, what }]))
  })
}

/** All cuts that remain. @param pair all hosts when undefined. @throws {WeftError} USAGE when what is asked for is not cut by itself. */
export function heal(io: CliIo, name: LabName, pair: readonly [string, string] | undefined, options: CutOptions): Promise<readonly Cut[]> {
  return changing(io, name, async () => {
    const lab = await openLab(name)
    if (pair === undefined) return await setCuts(lab, [])
    const [from, to] = twoHosts(lab, pair)
    const healing: Healing = { from, to, oneWay: options.oneWay, what: options.what }
    const left = healCuts(lab.cuts, healing)
    const whole = left.find((other) => other.what === 'all' && healCuts([other], { ...healing, what: 'all' }).length === 0)
    if (whole !== undefined) {
      throw new WeftError('USAGE', `${describeCut(whole)} is cut altogether, so that ${options.what} cannot be healed alone`, {
        hint: 'heal the two hosts without --proto, then cut what is to stay cut',
      })
    }
    return await setCuts(lab, left)
  })
}

function twoHosts(lab: LabState, [one, other]: readonly [string, string]): readonly [HostName, HostName] {
  const [from, to] = [hostNamed(lab, one).name, hostNamed(lab, other).name]
  if (from === to) throw new WeftError('USAGE', 'a cut is between two different hosts')
  return [from, to]
}

/** Written down first: a command that is killed in between leaves a list that the next cut or heal makes true. */
async function setCuts(lab: LabState, cuts: readonly Cut[]): Promise<readonly Cut[]> {
  await saveLab({ ...lab, cuts })
  await applyCuts(lab, cuts)
  return cuts
}

export async function cuts(name: LabName): Promise<readonly Cut[]> {
  return (await openLab(name)).cuts
}

export interface MtuChange {
  readonly mtuBytes: number
  /** The host is not told: only the other end of its cable changes. */
  readonly hidden: boolean
}

/** The host after it. */
export function setMtu(io: CliIo, name: LabName, hostWanted: string, { mtuBytes, hidden }: MtuChange): Promise<LabHost> {
  return changing(io, name, async () => {
    const lab = await openLab(name)
    const before = hostNamed(lab, hostWanted)
    const after: LabHost = { ...before, farMtuBytes: mtuBytes, mtuBytes: hidden ? before.mtuBytes : mtuBytes }
    const changed: LabState = { ...lab, hosts: lab.hosts.map((host) => (host === before ? after : host)) }
    await saveLab(changed)
    await setCables(changed)
    return after
  })
}

/** What to do to a host's packets; the seed is drawn when undefined. */
export type ImpairmentWish = Omit<Impairment, 'host' | 'seed'> & { readonly seed: number | undefined }

/** All impairments after it. @param wish whole again when undefined. */
export function impair(
  io: CliIo,
  name: LabName,
  hostWanted: string,
  wish: ImpairmentWish | undefined,
): Promise<readonly ImpairmentStatus[]> {
  return changing(io, name, async (ports) => {
    const lab = await openLab(name)
    const host = hostNamed(lab, hostWanted)
    const others = lab.impairments.filter((impairment) => impairment.host !== host.name)
    const wanted: readonly Impairment[] =
      wish === undefined ? [] : [{ ...wish, host: host.name, seed: wish.seed ?? randomBelow(ports.random, SEED_MAX + 1) }]
    const changed: LabState = { ...lab, impairments: [...others, ...wanted] }
    ports.step(`lab ${name}: ${wish === undefined ? 'mending' : 'impairing'} the cable of ${host.name}`)
    // Written down first: a command that is killed in between leaves what the next one for this host makes true.
    await saveLab(changed)
    await applyOrMend(changed, { ...lab, impairments: others }, host, ports)
    return await impairmentsOf(changed)
  })
}

/** A middlebox that cannot run must not leave the host without a cable. */
async function applyOrMend(changed: LabState, mended: LabState, host: LabHost, ports: LabPorts): Promise<void> {
  try {
    await applyImpairment(changed, host, ports)
  } catch (error) {
    try {
      await saveLab(mended)
      await applyImpairment(mended, host, ports)
    } catch (second) {
      throw new WeftError('KERNEL', `${describeError(error)} (and then the cable could not be mended: ${describeError(second)})`, {
        cause: error,
      })
    }
    throw error
  }
}

/** @param host all hosts when undefined. */
export async function impairments(name: LabName, host: string | undefined): Promise<readonly ImpairmentStatus[]> {
  const lab = await openLab(name)
  const only = host === undefined ? undefined : hostNamed(lab, host).name
  return (await impairmentsOf(lab)).filter(({ impairment }) => only === undefined || impairment.host === only)
}
