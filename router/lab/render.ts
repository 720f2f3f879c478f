/** What the lab's commands print, as text and as JSON documents. */
import type { HostStatus, LabEntry, LabStatus } from './actions.ts'
import { type Cut, describeCut } from './cuts.ts'
import type { LabState, PodRecord } from './state.ts'
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
      return `  ${host.name}  ${host.address.padEnd(14)}  ${its.join(', ')}`.trimEnd()
    })
    .map((line) => `${line}\n`)
    .join('')
}

/** What can be read without a lab: the documents of --json have names of their own, not those of our files. */
export function membersDocument(lab: LabState, pods: readonly PodRecord[]): Readonly<Record<string, unknown>> {
  return {
    lab: lab.name,
    mtuBytes: lab.mtuBytes,
    hosts: lab.hosts.map(({ name, address, peer }) => ({ name, address, peer })),
    pods: pods.map(podDocument),
  }
}

export function podDocument({ name, host, address, address6, containerId }: PodRecord): Readonly<Record<string, unknown>> {
  return { name, host, address, address6, containerId }
}

export function renderStatusOf({ hosts, lab, pods }: LabStatus): string {
  const cuts = lab.cuts.length === 0 ? '' : `\n${renderCutList(lab.cuts)}`
  return `${renderMembers(lab, pods)}${cuts}\n${hosts.map(renderHost).join('\n')}`
}

export function renderHost({ host, running, text }: HostStatus): string {
  return `=== ${host.name} (${host.address})\n${running ? text : 'its router does not run\n'}`
}

export function statusDocument({ lab, pods, hosts }: LabStatus): Readonly<Record<string, unknown>> {
  return {
    ...membersDocument(lab, pods),
    cuts: lab.cuts,
    hosts: hosts.map(({ host, running, text }) => ({
      name: host.name,
      address: host.address,
      peer: host.peer,
      running,
      ...(running ? { status: JSON.parse(text) as unknown } : {}),
    })),
  }
}

export function renderCutList(cuts: readonly Cut[]): string {
  return cuts.length === 0 ? 'nothing is cut\n' : `cut: ${cuts.map(describeCut).join(', ')}\n`
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
