/** A call of the plugin, from what the relay sent to something that can be carried out. */
import { err, ok, type Result } from '../mesh/base/result.ts'
import { type AttachmentKey, type CniCommand, mayBeOwnNamespace, parseArgs, parseCommand, parseKey } from './environment.ts'
import { CniCode, type CniFault } from './errors.ts'
import {
  isDelegated,
  type NetConf,
  parseConfDns,
  parseNetConf,
  parsePrevResult,
  parseValidAttachments,
  parseVersion,
  parseWishes,
} from './netconf.ts'
import type { AttachRequest, PodNamespace, PodReference, ReserveRequest } from './port.ts'
import type { CniRequest, PassedNetns } from './relay.ts'
import { type CniDns, type CniResult, EMPTY_RESULT } from './result.ts'
import { atLeast, type CniVersion } from './versions.ts'

export type Invocation =
  | AddInvocation
  | { readonly command: 'DEL'; readonly version: CniVersion; readonly key: AttachmentKey }
  | CheckInvocation
  /** ADD, DEL and CHECK by another plugin, of an address only. */
  | { readonly command: 'RESERVE'; readonly version: CniVersion; readonly request: ReserveRequest }
  | { readonly command: 'RELEASE'; readonly version: CniVersion; readonly key: AttachmentKey }
  | { readonly command: 'RESERVED'; readonly version: CniVersion; readonly key: AttachmentKey; readonly result: CniResult }
  | { readonly command: 'GC'; readonly version: CniVersion; readonly network: string; readonly keep: readonly AttachmentKey[] | undefined }
  | { readonly command: 'STATUS'; readonly version: CniVersion }
  | { readonly command: 'VERSION' }

export interface AddInvocation {
  readonly command: 'ADD'
  readonly version: CniVersion
  readonly request: AttachRequest
  /** The namespace's path, for the result. */
  readonly sandbox: string
  /** What earlier plugins of the list made; empty when we are the first. */
  readonly earlier: CniResult
  readonly dns: CniDns
}

export interface CheckInvocation {
  readonly command: 'CHECK'
  readonly version: CniVersion
  readonly key: AttachmentKey
  readonly netns: PodNamespace
  readonly sandbox: string
  readonly result: CniResult
}

/** Since which version an operation exists, for those that came later. */
const SINCE: Partial<Record<CniCommand, CniVersion>> = { CHECK: '0.4.0', GC: '1.1.0', STATUS: '1.1.0' }

/**
 * Faults come in the order of the reference code: variables that are missing, the configuration, names, versions.
 * Nothing has been touched when one is returned.
 */
export function parseInvocation(request: CniRequest): Result<Invocation, CniFault> {
  const command = parseCommand(request.env)
  if (!command.ok) return command
  if (command.value === 'VERSION') return ok({ command: 'VERSION' })
  const conf = parseNetConf(request.stdin)
  if (!conf.ok) return conf
  return command.value === 'GC' || command.value === 'STATUS'
    ? parseForNetwork(command.value, conf.value)
    : parseForAttachment(command.value, conf.value, request)
}

function parseForNetwork(command: 'GC' | 'STATUS', conf: NetConf): Result<Invocation, CniFault> {
  const version = parseVersionFor(command, conf)
  if (!version.ok) return version
  if (command === 'STATUS') return ok({ command, version: version.value })
  const keep = parseValidAttachments(conf)
  return keep.ok ? ok({ command, version: version.value, network: conf.name, keep: keep.value }) : keep
}

/** DEL reads nothing but the version, and whose call it is: the configuration may have changed since the ADD that it undoes. */
function parseForAttachment(command: 'ADD' | 'DEL' | 'CHECK', conf: NetConf, request: CniRequest): Result<Invocation, CniFault> {
  const key = parseKey(request.env)
  if (!key.ok) return key
  const version = parseVersionFor(command, conf)
  if (!version.ok) return version
  const common = { key: key.value, version: version.value, conf, request }
  if (command === 'DEL') return ok({ command: isDelegated(conf) ? 'RELEASE' : command, version: version.value, key: key.value })
  if (isDelegated(conf)) return command === 'ADD' ? parseReserve(common) : parseReserved(common)
  return command === 'ADD' ? parseAdd(common) : parseCheck(common)
}

interface Common {
  readonly key: AttachmentKey
  readonly version: CniVersion
  readonly conf: NetConf
  readonly request: CniRequest
}

function parseAdd({ key, version, conf, request: { env, netns } }: Common): Result<AddInvocation, CniFault> {
  const sandbox = env['CNI_NETNS'] ?? ''
  const namespace = usableNamespace(netns, sandbox, mayBeOwnNamespace(env))
  if (!namespace.ok) return namespace
  const args = parseArgs(env['CNI_ARGS'] ?? '')
  if (!args.ok) return args
  const wishes = parseWishes(conf, args.value)
  if (!wishes.ok) return wishes
  const earlier = parsePrevResult(conf, version)
  if (!earlier.ok) return earlier
  const dns = parseConfDns(conf)
  if (!dns.ok) return dns
  const request = { key, network: conf.name, netns: namespace.value, pod: podOf(args.value), ...wishes.value }
  return ok({ command: 'ADD', version, request, sandbox, earlier: earlier.value ?? EMPTY_RESULT, dns: dns.value })
}

/** The namespace is the other plugin's matter. */
function parseReserve({ key, version, conf, request: { env } }: Common): Result<Invocation, CniFault> {
  const args = parseArgs(env['CNI_ARGS'] ?? '')
  if (!args.ok) return args
  const wishes = parseWishes(conf, args.value)
  if (!wishes.ok) return wishes
  const { addresses, subnet } = wishes.value
  return ok({ command: 'RESERVE', version, request: { key, addresses, subnet } })
}

function parseReserved({ key, version, conf }: Common): Result<Invocation, CniFault> {
  const result = parseResultOfAdd(conf, version)
  return result.ok ? ok({ command: 'RESERVED', version, key, result: result.value }) : result
}

function parseResultOfAdd(conf: NetConf, version: CniVersion): Result<CniResult, CniFault> {
  const result = parsePrevResult(conf, version)
  if (!result.ok) return result
  return result.value === undefined ? err({ code: CniCode.config, msg: 'CHECK needs prevResult, the result of ADD' }) : ok(result.value)
}

function parseCheck({ key, version, conf, request: { env, netns } }: Common): Result<CheckInvocation, CniFault> {
  const result = parseResultOfAdd(conf, version)
  if (!result.ok) return result
  const sandbox = env['CNI_NETNS'] ?? ''
  const namespace = usableNamespace(netns, sandbox, mayBeOwnNamespace(env))
  if (!namespace.ok) return namespace
  return ok({ command: 'CHECK', version, key, netns: namespace.value, sandbox, result: result.value })
}

/** A namespace of the runtime's own is refused before anything is touched: its interfaces are the host's. */
function usableNamespace(passed: PassedNetns, sandbox: string, mayBeOwn: boolean): Result<PodNamespace, CniFault> {
  switch (passed.kind) {
    case 'passed':
      if (passed.isOwn && !mayBeOwn) {
        return err({ code: CniCode.netns, msg: "CNI_NETNS is the plugin's own network namespace", details: sandbox })
      }
      return ok(passed.netns)
    case 'failed':
      return err({ code: CniCode.netns, msg: `cannot use the network namespace CNI_NETNS: ${passed.reason}`, details: sandbox })
    case 'absent':
      return err({ code: CniCode.internal, msg: 'the relay passed no network namespace' })
  }
}

function parseVersionFor(command: CniCommand, conf: NetConf): Result<CniVersion, CniFault> {
  const version = parseVersion(conf)
  const since = SINCE[command]
  if (since === undefined) return version
  if (!version.ok) return isNumeric(conf.keys['cniVersion']) ? version : err({ ...version.error, code: CniCode.decode })
  if (atLeast(version.value, since)) return version
  return err({ code: CniCode.incompatibleVersion, msg: `config version does not allow ${command}`, details: `${command} needs ${since}` })
}

function isNumeric(version: unknown): boolean {
  return typeof version === 'string' && /^\d+(\.\d+){0,2}$/.test(version)
}

function podOf(args: ReadonlyMap<string, string>): PodReference | undefined {
  const [namespace, name] = [args.get('K8S_POD_NAMESPACE') ?? '', args.get('K8S_POD_NAME') ?? '']
  if (namespace === '' || name === '') return undefined
  return { namespace, name, uid: args.get('K8S_POD_UID') }
}
