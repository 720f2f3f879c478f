/** The CNI_* variables: which operation needs which, and what each may hold. */
import type { Brand } from '../mesh/base/brand.ts'
import { err, ok, type Result } from '../mesh/base/result.ts'
import { CniCode, type CniFault } from './errors.ts'

type ContainerId = Brand<string, 'ContainerId'>

/** The name of a network interface: 1 to 15 bytes. */
type Ifname = Brand<string, 'Ifname'>

/** An attachment's identity: a container may have several interfaces, each with addresses of its own. */
export interface AttachmentKey {
  readonly containerId: ContainerId
  readonly ifname: Ifname
}

/** Variables as the runtime set them. An empty one counts as missing, as in the reference code. */
export type CniEnvironment = Readonly<Record<string, string>>

const COMMANDS = ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION'] as const

export type CniCommand = (typeof COMMANDS)[number]

/**
 * What each operation cannot do without, in the order in which missing ones are named. CNI_PATH is where
 * delegated plugins are found: we have none, so only GC, for which the specification demands it, needs it.
 */
const REQUIRED: Readonly<Record<CniCommand, readonly string[]>> = {
  ADD: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  DEL: ['CNI_CONTAINERID', 'CNI_IFNAME'],
  CHECK: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  GC: ['CNI_PATH'],
  STATUS: [],
  VERSION: [],
}

/** Runtimes use up to 64 characters; with more, the name would not fit where it is noted on the pod's link. */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/

/** Linux' IFNAMSIZ without the closing zero. */
const IFNAME_BYTES_MAX = 15

/** What the relay writes for bytes that are not UTF-8: a name with it is not the name that was asked for. */
const REPLACEMENT = '\ufffd'

/** The operation, once everything that it needs is there. The values are checked apart. */
export function parseCommand(env: CniEnvironment): Result<CniCommand, CniFault> {
  const text = env['CNI_COMMAND'] ?? ''
  if (text === '') return err(missing(['CNI_COMMAND']))
  const command = COMMANDS.find((known) => known === text)
  if (command === undefined) return err({ code: CniCode.environment, msg: `unknown CNI_COMMAND: ${text}` })
  const absent = REQUIRED[command].filter((name) => (env[name] ?? '') === '')
  return absent.length === 0 ? ok(command) : err(missing(absent))
}

function missing(names: readonly string[]): CniFault {
  return { code: CniCode.environment, msg: `required env variables [${names.join(',')}] missing` }
}

/** CNI_CONTAINERID and CNI_IFNAME, checked. */
export function parseKey(env: CniEnvironment): Result<AttachmentKey, CniFault> {
  return parseAttachmentKey(env['CNI_CONTAINERID'] ?? '', env['CNI_IFNAME'] ?? '')
}

export function parseAttachmentKey(containerId: string, ifname: string): Result<AttachmentKey, CniFault> {
  if (!isName(containerId)) {
    return err({ code: CniCode.environment, msg: 'invalid characters in containerID (CNI_CONTAINERID)', details: containerId })
  }
  const wrong = ifnameFault(ifname)
  if (wrong !== undefined) return err({ code: CniCode.environment, msg: `CNI_IFNAME ${wrong}`, details: ifname })
  return ok({ containerId: containerId as ContainerId, ifname: ifname as Ifname })
}

/** The form of container ids and of network names. */
export function isName(text: string): boolean {
  return NAME.test(text)
}

function ifnameFault(ifname: string): string | undefined {
  if (ifname === '') return 'is empty'
  if (Buffer.byteLength(ifname) > IFNAME_BYTES_MAX) return `is too long: an interface name has at most ${IFNAME_BYTES_MAX} bytes`
  if (ifname === '.' || ifname === '..') return 'is . or ..'
  if (/[/:\s]/.test(ifname)) return 'contains / or : or whitespace characters'
  if (ifname.includes(REPLACEMENT)) return 'is not valid UTF-8'
  return undefined
}

/** CNI_NETNS_OVERRIDE: the runtime insists on a namespace that is its own (tests of the reference plugins do). */
export function mayBeOwnNamespace(env: CniEnvironment): boolean {
  return /^(1|true)$/i.test(env['CNI_NETNS_OVERRIDE'] ?? '')
}

/**
 * CNI_ARGS: `KEY=VALUE;KEY=VALUE` in any order. Keys that nobody here knows are kept and ignored whether or not
 * IgnoreUnknown is given: refusing them helps nobody.
 */
export function parseArgs(text: string): Result<ReadonlyMap<string, string>, CniFault> {
  const args = new Map<string, string>()
  for (const pair of text.split(';')) {
    if (pair === '') continue
    const at = pair.indexOf('=')
    if (at < 1) return err({ code: CniCode.environment, msg: `CNI_ARGS: invalid pair ${JSON.stringify(pair)}`, details: text })
    args.set(pair.slice(0, at), pair.slice(at + 1))
  }
  return ok(args)
}
