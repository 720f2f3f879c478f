/** A lab that is up: finding it, its hosts and its pods by name. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { errnoCode, WeftError } from '../../mesh/base/errors.ts'
import { type HostName, type LabName, namespaceOf } from './names.ts'
import { hostPaths, labFile } from './paths.ts'
import { type LabHost, type LabState, type PodRecord, readLab, readPod, writeState } from './state.ts'

/** @throws {WeftError} MISSING when there is none, STATE when it is half-made or its file is damaged. */
export async function openLab(name: LabName): Promise<LabState> {
  const state = await readLab(labFile(name))
  const again = `\`weft lab up --name ${name}\``
  if (state.ok && state.value.phase === 'ready') return state.value
  if (state.ok) throw new WeftError('STATE', `lab ${name} is only half-made`, { hint: `wait for its \`lab up\`, or run ${again} again` })
  if (state.error.code === 'missing') throw new WeftError('MISSING', `there is no lab ${name}`, { hint: `make it with ${again}` })
  throw new WeftError('STATE', `lab ${name} is damaged: ${state.error.detail}`, { hint: `make it anew with ${again}` })
}

export async function saveLab(state: LabState): Promise<void> {
  await writeState(labFile(state.name), state)
}

/** @throws {WeftError} USAGE that names the hosts that there are. */
export function hostNamed(lab: LabState, name: string): LabHost {
  const host = lab.hosts.find((candidate) => candidate.name === name)
  if (host !== undefined) return host
  throw new WeftError('USAGE', `lab ${lab.name} has no host ${JSON.stringify(name)}`, {
    hint: `its hosts are ${lab.hosts.map((candidate) => candidate.name).join(', ')}`,
  })
}

/** Those whose ADD has succeeded, by host and then by number. */
export async function podsOf(lab: LabState): Promise<readonly PodRecord[]> {
  const all = await Promise.all(lab.hosts.map((host) => podsOfHost(lab.name, host.name)))
  return all.flat().filter(({ result }) => result !== undefined)
}

async function podsOfHost(lab: LabName, host: HostName): Promise<readonly PodRecord[]> {
  const directory = hostPaths(lab, host).pods
  const files = await readdir(directory).catch((error: unknown) => {
    if (errnoCode(error) === 'ENOENT') return []
    throw error
  })
  const records = await Promise.all(files.filter((file) => file.endsWith('.json')).map((file) => readPod(join(directory, file))))
  const pods = records.flatMap((record) => (record.ok ? [record.value] : []))
  return pods.toSorted((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }))
}

/** @throws {WeftError} USAGE when the lab has no such pod. */
export async function podNamed(lab: LabState, name: string): Promise<PodRecord> {
  const pods = await podsOf(lab)
  const pod = pods.find((candidate) => candidate.name === name)
  if (pod !== undefined) return pod
  throw new WeftError('USAGE', `lab ${lab.name} has no pod ${JSON.stringify(name)}`, { hint: `its pods: ${listed(pods)}` })
}

/** Where commands of a host or pod run, and which router they ask. */
export interface Member {
  readonly namespace: string
  readonly apiSocket: string
}

/** @throws {WeftError} USAGE when the lab has neither a host nor a pod of this name. */
export async function memberNamed(lab: LabState, name: string): Promise<Member> {
  const pods = await podsOf(lab)
  const pod = pods.find((candidate) => candidate.name === name)
  const host = lab.hosts.find((candidate) => candidate.name === (pod?.host ?? name))
  if (host === undefined) {
    throw new WeftError('USAGE', `lab ${lab.name} has no host or pod ${JSON.stringify(name)}`, {
      hint: `hosts: ${listed(lab.hosts)}; pods: ${listed(pods)}`,
    })
  }
  return { namespace: namespaceOf(lab.name, pod?.name ?? host.name), apiSocket: hostPaths(lab.name, host.name).apiSocket }
}

function listed(members: readonly { readonly name: string }[]): string {
  return members.length === 0 ? 'none' : members.map(({ name }) => name).join(', ')
}
