/** `weft lab …`: the command line of the lab. */
import { access, constants } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Command, Option } from 'commander'
import { type Cidr, parseCidr } from '../../mesh/base/address.ts'
import { describeError, WeftError } from '../../mesh/base/errors.ts'
import { err, ok, type Result } from '../../mesh/base/result.ts'
import type { CliIo } from '../cli/io.ts'
import { addPodTo, check, deletePodOf, down, kill, list as listLabs, searchPath, start, status, up } from './actions.ts'
import { labNames } from './cleanup.ts'
import { runDemo } from './demo.ts'
import { execIn } from './exec.ts'
import { memberNamed, openLab } from './lab.ts'
import { renderMatrix } from './matrix.ts'
import { HOSTS_MAX, type LabName, PODS_PER_HOST_MAX, UNDERLAYS, type UnderlayKind } from './names.ts'
import { type LabOptions, labOptions, list, nameOption, orInvalid, whole } from './options.ts'
import { LABS_DIRECTORY } from './paths.ts'
import { addressText, membersDocument, podDocument, renderJson, renderList, renderStatusOf, renderUp, statusDocument } from './render.ts'
import { MTU_BYTES_MAX, MTU_BYTES_MIN } from './state.ts'
import { underlayCommands } from './underlay-commands.ts'
import { DEFAULT_MTU_BYTES, DEFAULT_ZONE, parseZone } from './up.ts'

export function labCommand(io: CliIo): Command {
  const lab = new Command('lab').enablePositionalOptions().hook('preAction', refuseOthersThanRoot)
  for (const make of [upCommand, execCommand, podCommand, killCommand, startCommand]) lab.addCommand(make(io))
  for (const command of underlayCommands(io)) lab.addCommand(command)
  for (const make of [checkCommand, statusCommand, listCommand, downCommand, demoCommand]) lab.addCommand(make(io))
  return lab
}

/** @throws {WeftError} USAGE, before anything is tried. */
async function refuseOthersThanRoot(): Promise<void> {
  try {
    await access(dirname(LABS_DIRECTORY), constants.W_OK)
  } catch (cause) {
    throw new WeftError('USAGE', 'the lab makes network namespaces, which takes root', { cause, hint: 'use sudo' })
  }
}

const mtuOf = whole(MTU_BYTES_MIN, MTU_BYTES_MAX)

function upCommand(io: CliIo): Command {
  interface UpOptions extends LabOptions {
    readonly hosts: number
    readonly pods: number
    readonly underlay: UnderlayKind
    readonly mtu?: readonly number[]
    readonly zones?: readonly string[]
    readonly nat?: readonly string[]
    readonly range?: Cidr
  }
  return labOptions('up', 'build a lab: hosts, routers, pods')
    .option('--hosts <number>', `1 to ${HOSTS_MAX}`, whole(1, HOSTS_MAX), 3)
    .option('--pods <number>', `pods on each host, 0 to ${PODS_PER_HOST_MAX}`, whole(0, PODS_PER_HOST_MAX), 2)
    .addOption(
      new Option('--underlay <kind>', 'l2: one switch; routed: a subnet for each host, and a router between them')
        .choices(UNDERLAYS)
        .default('l2'),
    )
    .option('--mtu <bytes>', `of the cables: one for all, or one for each, as 1500,1400,1500 (default: ${DEFAULT_MTU_BYTES})`, list(mtuOf))
    .option('--zones <names>', 'where the hosts are: one for all, or one for each, as a,a,b (default: one)', list(orInvalid(parseZone)))
    .option(
      '--nat <hosts>',
      'these are behind address translation, as a,c (routed): nobody reaches them first',
      list((text) => text),
    )
    .option('--range <cidr>', 'what pods get their addresses from (default: 10.32.0.0/12)', orInvalid(parseRange))
    .action(
      async ({ name, json, hosts, pods, underlay, range, mtu = [DEFAULT_MTU_BYTES], zones = [DEFAULT_ZONE], nat = [] }: UpOptions) => {
        const built = await up(io, { name, hosts, podsPerHost: pods, underlay, mtuBytes: mtu, zones, nat, range })
        io.out(json ? renderJson(membersDocument(built.lab, built.pods)) : renderUp(built))
      },
    )
}

function execCommand(io: CliIo): Command {
  return nameOption(new Command('exec'))
    .description('run a command inside a host or pod; `weft` in it asks the router of that host')
    .argument('<member>', 'a host (a, b, …) or a pod (a1, …)')
    .argument('<command...>', 'the command and its words, after --')
    .passThroughOptions()
    .action(async (member: string, words: readonly string[], { name }: LabOptions) => {
      const found = await memberNamed(await openLab(name), member)
      const [first, ...rest] = words
      const command = first === '--' ? rest : words
      if (command.length === 0) throw new WeftError('USAGE', 'which command?', { hint: 'weft lab exec a1 -- ip address' })
      io.exitWith(await execIn(name, found, command, { env: io.env, searchPath: searchPath(io), signal: io.signal }))
    })
}

function podCommand(io: CliIo): Command {
  const pod = new Command('pod').description('add and delete pods, through the CNI plugin')
  pod.addCommand(
    labOptions('add', 'add a pod to a host')
      .argument('<host>')
      .argument('[pod]', 'its name; the next number when not given')
      .action(async (host: string, wanted: string | undefined, { name, json }: LabOptions) => {
        const record = await addPodTo(io, name, { host, wanted })
        io.out(json ? renderJson(podDocument(record)) : `${record.name} ${addressText(record)} on ${record.host}\n`)
      }),
  )
  pod.addCommand(
    labOptions('del', 'delete a pod')
      .argument('<pod>')
      .action(async (wanted: string, { name, json }: LabOptions) => {
        const record = await deletePodOf(io, name, wanted)
        io.out(json ? renderJson(podDocument(record)) : `${record.name} is gone\n`)
      }),
  )
  return pod
}

function killCommand(io: CliIo): Command {
  return labOptions('kill', 'kill the router of a host (SIGKILL); its pods stay')
    .argument('<host>')
    .action(async (host: string, { name, json }: LabOptions) => {
      await kill(io, name, host)
      io.out(json ? renderJson({ host, running: false }) : `the router of ${host} is dead\n`)
    })
}

function startCommand(io: CliIo): Command {
  return labOptions('start', 'start the router of a host again, and wait until it is ready')
    .argument('<host>')
    .action(async (host: string, { name, json }: LabOptions) => {
      await start(io, name, host)
      io.out(json ? renderJson({ host, running: true }) : `the router of ${host} is ready\n`)
    })
}

function checkCommand(io: CliIo): Command {
  return labOptions('check', 'every pod to every other one: ping, TCP, a UDP datagram of 64 KB, a packet of full MTU')
    .addHelpText('after', '\nNothing is sent twice; an answer counts for 2 s. Exits with 1 when anything fails.')
    .action(async ({ name, json }: LabOptions) => {
      const report = await check(io, name)
      io.out(json ? renderJson(report) : renderMatrix(report))
      if (!report.ok) io.exitWith(1)
    })
}

function statusCommand(io: CliIo): Command {
  return labOptions('status', 'hosts, pods, cuts, and what each router says').action(async ({ name, json }: LabOptions) => {
    const found = await status(name, json ? 'json' : 'text')
    io.out(json ? renderJson(statusDocument(found)) : renderStatusOf(found))
  })
}

function listCommand(io: CliIo): Command {
  return new Command('list')
    .description('the labs on this machine')
    .option('--json', 'print JSON')
    .action(async ({ json }: { readonly json?: boolean }) => {
      const labs = await listLabs()
      io.out(json ? renderJson({ labs }) : renderList(labs))
    })
}

function downCommand(io: CliIo): Command {
  return labOptions('down', 'remove a lab, whatever state it is in')
    .option('--all', 'all labs on this machine')
    .action(async ({ name, json, all }: LabOptions & { readonly all?: boolean }) => {
      const removed: LabName[] = []
      for (const lab of all ? await labNames() : [name]) {
        if (await down(io, lab)) removed.push(lab)
      }
      const text = removed.length === 0 ? 'there was nothing to remove\n' : `removed: ${removed.join(', ')}\n`
      io.out(json ? renderJson({ removed }) : text)
    })
}

function demoCommand(io: CliIo): Command {
  return nameOption(new Command('demo'), 'demo')
    .description('build a lab of three hosts, show that it works, and remove it')
    .option('--keep', 'leave it running')
    .action(async ({ name, keep = false }: LabOptions & { readonly keep?: boolean }) => await runDemo(io, { name, keep }))
}

/** Whether pods can get addresses from it the routers say. */
function parseRange(text: string): Result<Cidr, string> {
  try {
    return ok(parseCidr(text))
  } catch (error) {
    return err(describeError(error))
  }
}
