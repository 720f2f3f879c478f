/** The CNI plugin: one request of the relay in, one answer out. All that it does, it does through the port. */
import { formatIpv4 } from '../mesh/base/address.ts'
import { describeError } from '../mesh/base/errors.ts'
import { err, ok, type Result, unreachable } from '../mesh/base/result.ts'
import type { AttachmentKey } from './environment.ts'
import { CniCode, type CniFault, type CniReply, errorReply, jsonReply, SILENT_REPLY } from './errors.ts'
import { type AddInvocation, type CheckInvocation, type Invocation, parseInvocation } from './invocation.ts'
import { parseNetConf, parseVersion } from './netconf.ts'
import type { AttachFailure, Attachment, CheckFailure, PodNetworkPort } from './port.ts'
import type { CniRequest } from './relay.ts'
import { appendResult, type CniResult, EMPTY_RESULT, renderResult } from './result.ts'
import { CNI_VERSION_LATEST, CNI_VERSIONS, type CniVersion } from './versions.ts'

/** Where the pod's end stands in the interfaces of our result. */
const POD_INTERFACE = 1

/**
 * Never rejects. `signal` aborts when nobody waits for the answer any longer or its time is up, and its reason says
 * which: an ADD under way is then undone.
 */
export async function handleCni(request: CniRequest, port: PodNetworkPort, signal: AbortSignal): Promise<CniReply> {
  const outcome = await carryOut(request, port, signal)
  return outcome.ok ? outcome.value : errorReply(outcome.error, versionFor(request.stdin))
}

async function carryOut(request: CniRequest, port: PodNetworkPort, signal: AbortSignal): Promise<Result<CniReply, CniFault>> {
  const invocation = parseInvocation(request)
  if (!invocation.ok) return invocation
  try {
    return await perform(invocation.value, port, signal)
  } catch (error) {
    return err({ code: CniCode.internal, msg: `internal error: ${describeError(error)}` })
  }
}

async function perform(invocation: Invocation, port: PodNetworkPort, signal: AbortSignal): Promise<Result<CniReply, CniFault>> {
  switch (invocation.command) {
    case 'ADD':
      return add(invocation, port, signal)
    case 'DEL':
      return silence(await port.detach(invocation.key), ({ reason }) => kernelFault(reason))
    case 'CHECK':
      return check(invocation, port)
    case 'RESERVE':
      return reserve(invocation, port, signal)
    case 'RELEASE':
      await port.release(invocation.key)
      return ok(SILENT_REPLY)
    case 'RESERVED':
      return checkReserved(invocation, port)
    case 'GC':
      if (invocation.keep === undefined) return ok(SILENT_REPLY)
      return silence(await port.collect(invocation.network, invocation.keep), (failures) =>
        kernelFault(failures.map(({ reason }) => reason).join('; ')),
      )
    case 'STATUS':
      return silence(await port.status(), ({ code, reason }) => ({ code: CniCode[code], msg: reason }))
    case 'VERSION':
      return ok(jsonReply({ cniVersion: CNI_VERSION_LATEST, supportedVersions: CNI_VERSIONS }))
    default:
      return unreachable(invocation)
  }
}

async function add(invocation: AddInvocation, port: PodNetworkPort, signal: AbortSignal): Promise<Result<CniReply, CniFault>> {
  const { version, request, earlier } = invocation
  const attached = await port.attach(request, signal)
  if (!attached.ok) return err(attachFault(attached.error, { key: request.key, sandbox: invocation.sandbox, signal }))
  return ok(jsonReply(renderResult(version, appendResult(earlier, resultOf(attached.value, invocation)))))
}

function resultOf(attachment: Attachment, { request, sandbox, dns }: AddInvocation): CniResult {
  const { host, pod, addresses, routes } = attachment
  return {
    interfaces: [
      { name: host.name, mac: host.mac },
      { name: request.key.ifname, mac: pod.mac, mtu: pod.mtuBytes, sandbox },
    ],
    ips: addresses.map(({ address, gateway }) => ({ interface: POD_INTERFACE, address, gateway })),
    routes: routes.map(({ destination, gateway }) => ({ dst: destination, gw: gateway })),
    dns,
  }
}

async function check({ key, netns, sandbox, result }: CheckInvocation, port: PodNetworkPort): Promise<Result<CniReply, CniFault>> {
  const index = result.interfaces.findIndex((its) => its.name === key.ifname && its.sandbox === sandbox)
  const addresses = result.ips.filter((ip) => ip.interface === index).map(({ address }) => address)
  if (index === -1 || addresses.length === 0) {
    return err({ code: CniCode.config, msg: `prevResult has no address of ${key.ifname} in ${sandbox}` })
  }
  return silence(await port.check({ key, netns, addresses }), checkFault)
}

/** The bare address: which prefix it is in and where packets go is for the other plugin's configuration to say. */
async function reserve(
  { version, request }: Extract<Invocation, { command: 'RESERVE' }>,
  port: PodNetworkPort,
  signal: AbortSignal,
): Promise<Result<CniReply, CniFault>> {
  const reserved = await port.reserve(request, signal)
  if (!reserved.ok) return err(attachFault(reserved.error, { key: request.key, sandbox: '', signal }))
  return ok(jsonReply(renderResult(version, { ...EMPTY_RESULT, ips: [{ address: `${formatIpv4(reserved.value)}/32` }] })))
}

async function checkReserved(
  { key, result }: Extract<Invocation, { command: 'RESERVED' }>,
  port: PodNetworkPort,
): Promise<Result<CniReply, CniFault>> {
  const address = await port.reserved(key)
  if (address === undefined) return err(checkFault({ code: 'not-attached' }))
  const [own, listed] = [formatIpv4(address), result.ips.map((ip) => ip.address)]
  if (listed.some((text) => text.split('/')[0] === own)) return ok(SILENT_REPLY)
  return err(checkFault({ code: 'broken', faults: [`${own} is allocated to it, not ${listed.join(', ')}`] }))
}

function silence<E>(result: Result<void, E>, fault: (error: E) => CniFault): Result<CniReply, CniFault> {
  return result.ok ? ok(SILENT_REPLY) : err(fault(result.error))
}

interface Attempt {
  readonly key: AttachmentKey
  readonly sandbox: string
  readonly signal: AbortSignal
}

function attachFault(failure: AttachFailure, { key: { containerId, ifname }, sandbox, signal }: Attempt): CniFault {
  switch (failure.code) {
    case 'already-attached':
      return {
        code: CniCode.environment,
        msg: `CNI_CONTAINERID and CNI_IFNAME: ${ifname} of this container is attached already, DEL it first`,
        details: containerId,
      }
    case 'interface-exists':
      return { code: CniCode.environment, msg: `CNI_IFNAME: an interface ${ifname} exists already`, details: sandbox }
    case 'address-unavailable':
      return { code: CniCode.tryAgain, msg: `no address: ${failure.reason}` }
    case 'address-impossible':
      return { code: CniCode.config, msg: `no such address: ${failure.reason}` }
    case 'namespace-gone':
      return { code: CniCode.netns, msg: 'the network namespace CNI_NETNS went away', details: sandbox }
    case 'host-namespace':
      return { code: CniCode.netns, msg: "CNI_NETNS is the host's network namespace", details: sandbox }
    case 'kernel-refused':
      return kernelFault(failure.reason)
    case 'cancelled':
      return { code: CniCode.tryAgain, msg: `gave up and undid everything: ${describeError(signal.reason)}` }
    default:
      return unreachable(failure)
  }
}

function checkFault(failure: CheckFailure): CniFault {
  switch (failure.code) {
    case 'not-attached':
      return { code: CniCode.checkFailed, msg: 'no such attachment: it was never made, or was removed' }
    case 'broken':
      return { code: CniCode.checkFailed, msg: 'the attachment is not as ADD left it', details: failure.faults.join('; ') }
    default:
      return unreachable(failure)
  }
}

function kernelFault(reason: string): CniFault {
  return { code: CniCode.kernel, msg: `the kernel refused: ${reason}` }
}

/** Errors are answered in the configuration's version where it has one that we know. */
function versionFor(stdin: string): CniVersion {
  const conf = parseNetConf(stdin)
  const version = conf.ok ? parseVersion(conf.value) : conf
  return version.ok ? version.value : CNI_VERSION_LATEST
}
