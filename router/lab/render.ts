/** What the lab's commands print, as text and as JSON documents. */
import type { HostStatus, LabEntry, LabStatus } from './actions.ts'
import { type Cut, describeCut } from './cuts.ts'
import { type DirectionCounters, describeImpairment } from './impairment.ts'
import type { ImpairmentStatus } from './middlebox.ts'
import type { LabHost, LabState, PodRecord } from './state.ts'
import type { BuiltLab } from './up.ts'

export function renderJson(document: unknown): string {
  return `${JSON.stringify(document, undefined, 2)}\n`
}

/** How a person calls Weft in a checkout. */
const WEFT = 'npm run -s weft --'

/** The options that name a lab, where it is not the usual one. */
function named(lab: string): string {
  return lab === 'lab' ? '' : ` --name ${lab}`
}

export function renderUp({ lab, pods }: BuiltLab): string {
  const example = pods[0]?.name ?? lab.hosts[0]?.name ?? 'a'
  return [
    `lab ${lab.name} is up\n`,
    renderMembers(lab, pods),
    '\n',
    `${WEFT} lab check${named(lab.name)}      who reaches whom\n`,
    `${WEFT} lab exec${named(lab.name)} ${example} -- ip address      a command inside\n`,
    `${WEFT} lab down${named(lab.name)}       remove it\n`,
  ].join('')
}

/** `10.32.0.2`, or `10.32.0.2 fd00::2`. */
export function addressText({ address, address6 }: PodRecord): string {
  return [address ?? '(no address)', ...(address6 === undefined ? [] : [address6])].join(' ')
}

/** A line for each host: its address and its pods with theirs. */
export function renderMembers(lab: LabState, pods: readonly PodRecord[]): string {
  return lab.hosts
    .map((host) => {
      const its = pods.filter((pod) => pod.host === host.name).map((pod) => `${pod.name} ${addressText(pod)}`)
      return `  ${host.name}  ${host.address.padEnd(14)}  ${notes(lab, host)}${its.join(', ')}`.trimEnd()
    })
    .map((line) => `${line}\n`)
    .join('')
}

/** Where hosts differ in it: how big packets may be, and where they are. */
function notes({ hosts }: LabState, { mtuBytes, farMtuBytes, zone, publicAddress }: LabHost): string {
  const hidden = mtuBytes === farMtuBytes ? '' : ` (really ${farMtuBytes})`
  const hasMtus = new Set(hosts.flatMap((host) => [host.mtuBytes, host.farMtuBytes])).size > 1
  const hasZones = new Set(hosts.map((host) => host.zone)).size > 1
  const behind = publicAddress === undefined ? [] : [`behind ${publicAddress}`]
  const words = [...behind, ...(hasZones ? [`zone ${zone}`] : []), ...(hasMtus ? [`MTU ${mtuBytes}${hidden}`] : [])]
  return words.length === 0 ? '' : `${words.join(', ')}: `
}

/** What can be read without a lab: the documents of --json have names of their own, not those of our files. */
export function membersDocument(lab: LabState, pods: readonly PodRecord[]): Readonly<Record<string, unknown>> {
  return {
    lab: lab.name,
    underlay: lab.underlay,
    hosts: lab.hosts,
    pods: pods.map(podDocument),
  }
}

export function podDocument({ name, host, address, address6, containerId }: PodRecord): Readonly<Record<string, unknown>> {
  return { name, host, address, address6, containerId }
}

export function renderStatusOf({ hosts, lab, pods, impairments }: LabStatus): string {
  const cuts = lab.cuts.length === 0 ? '' : `\n${renderCutList(lab.cuts)}`
  const bad = impairments.length === 0 ? '' : `\n${renderImpairments(impairments)}`
  return `${renderMembers(lab, pods)}${cuts}${bad}\n${hosts.map(renderHost).join('\n')}`
}

export function renderHost({ host, running, text }: HostStatus): string {
  return `=== ${host.name} (${host.address})\n${running ? text : 'its router does not run\n'}`
}

export function statusDocument({ lab, pods, hosts, impairments }: LabStatus): Readonly<Record<string, unknown>> {
  return {
    ...membersDocument(lab, pods),
    cuts: lab.cuts,
    impairments: impairments.map(impairmentDocument),
    hosts: hosts.map(({ host, running, text }) => ({
      ...host,
      running,
      ...(running ? { status: JSON.parse(text) as unknown } : {}),
    })),
  }
}

export function renderCutList(cuts: readonly Cut[]): string {
  return cuts.length === 0 ? 'nothing is cut\n' : `cut: ${cuts.map(describeCut).join(', ')}\n`
}

export function impairmentDocument({ impairment, running, counters }: ImpairmentStatus): Readonly<Record<string, unknown>> {
  return { ...impairment, running, ...(counters === undefined ? {} : { counters }) }
}

export function renderImpairments(all: readonly ImpairmentStatus[]): string {
  if (all.length === 0) return 'no cable is a bad one\n'
  return all
    .map(({ impairment, running, counters }) => {
      const dead = running ? '' : '; its middlebox does not run: what passes is not this before the next `lab impair`'
      const counted =
        counters === undefined ? '' : `  from it: ${countersLine(counters.fromHost)}\n  to it:   ${countersLine(counters.toHost)}\n`
      return `impaired: ${describeImpairment(impairment)}${dead}\n${counted}`
    })
    .join('')
}

function countersLine({ received, sent, lost, duplicated, reordered, overflowed }: DirectionCounters): string {
  return `${received} received, ${sent} sent, ${lost} lost, ${duplicated} duplicated, ${reordered} reordered, ${overflowed} without room`
}

export function renderList(labs: readonly LabEntry[]): string {
  if (labs.length === 0) return 'no labs on this machine\n'
  return labs
    .map(({ name, phase, hosts, pods, runningRouters }) => {
      const word = phase === 'ready' ? '' : phase === 'building' ? ' (half-made)' : ' (damaged)'
      return `${name.padEnd(12)}  ${hosts} hosts, ${pods} pods, ${runningRouters} routers running${word}\n`
    })
    .join('')
}
