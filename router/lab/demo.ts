/** `weft lab demo`: a cluster of three hosts, shown to work, in one command. */
import type { CliIo } from '../cli/io.ts'
import { check, down, status, up } from './actions.ts'
import { renderMatrix } from './matrix.ts'
import type { LabName } from './names.ts'
import { renderHost, renderMembers } from './render.ts'
import { DEFAULT_MTU_BYTES, DEFAULT_ZONE } from './up.ts'

const HOSTS = 3
const PODS_PER_HOST = 2
const COMMAND_WIDTH = 62

export interface DemoOptions {
  readonly name: LabName
  /** Leaves the lab running. */
  readonly keep: boolean
}

/** Exits with 0 when every pod reaches every other one. @throws {WeftError} CONFLICT when a lab of this name is up: it is left alone. */
export async function runDemo(io: CliIo, { name, keep }: DemoOptions): Promise<void> {
  io.out(
    `A cluster of ${HOSTS} hosts with ${PODS_PER_HOST} pods each: network namespaces on this machine, real routers, the real CNI plugin.\n\n`,
  )
  const { lab, pods } = await up(io, {
    name,
    hosts: HOSTS,
    podsPerHost: PODS_PER_HOST,
    underlay: 'l2',
    mtuBytes: [DEFAULT_MTU_BYTES],
    zones: [DEFAULT_ZONE],
    nat: [],
    range: undefined,
  })
  try {
    io.out(`Hosts, their addresses, and their pods:\n\n${renderMembers(lab, pods)}\n`)
    await showStatus(io, name)
    await showStatus(io, name, 'connections')
    const report = await check(io, name)
    io.out(`Every pod to every other one (weft lab check):\n\n${renderMatrix(report)}\n`)
    if (!report.ok) io.exitWith(1)
  } finally {
    if (!keep) await down(io, name)
  }
  io.out(whatToTry(name, keep))
}

async function showStatus(io: CliIo, name: LabName, part?: string): Promise<void> {
  const { hosts } = await status(name, 'text', part)
  const command = ['weft status', ...(part === undefined ? [] : [part])].join(' ')
  io.out(`${command}, on each host:\n\n${hosts.map(renderHost).join('\n')}\n`)
}

/** Commands that work as they stand: in this very lab when it stays, else in the one that the first of them builds. */
function whatToTry(name: LabName, keep: boolean): string {
  const lab = (command: string, words: string, note: string): string => {
    const line = `  npm run -s weft -- lab ${command}${keep ? ` --name ${name}` : ''}${words}`
    return `${line.padEnd(COMMAND_WIDTH)} # ${note}\n`
  }
  return [
    keep ? 'The cluster stays up. Try:\n\n' : 'The cluster is gone again. Build one to keep, and try:\n\n',
    ...(keep ? [] : [lab('up', '', 'three hosts with two pods each')]),
    lab('exec', ' a1 -- ip address', 'any command, inside a pod'),
    lab('exec', ' a -- weft status ipam', 'ask the router of host a'),
    lab('pod add', ' c', 'one pod more'),
    lab('kill', ' b', "kill -9 of b's router: its pods keep talking"),
    lab('check', '', 'who reaches whom'),
    lab('start', ' b', 'and it has every address as before'),
    lab('cut', ' a b', 'nothing passes between two hosts; `lab heal` undoes it'),
    lab('down', '', 'remove everything'),
  ].join('')
}
