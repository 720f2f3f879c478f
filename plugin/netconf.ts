/** The network configuration on stdin. Keys that we do not know are left alone: a newer runtime may add some. */
import { z } from 'zod'
import { type Cidr, parseCidr } from '../mesh/base/address.ts'
import { describeError } from '../mesh/base/errors.ts'
import { type Ip, isIpv4, parseIp } from '../mesh/base/ip.ts'
import { IPV4_BITS, IPV6_BITS } from '../mesh/base/prefix.ts'
import { err, ok, type Result } from '../mesh/base/result.ts'
import { IPAM_TYPE, PLUGIN_TYPE } from './conflist.ts'
import { type AttachmentKey, isName, parseAttachmentKey } from './environment.ts'
import { CniCode, type CniFault } from './errors.ts'
import type { MacAddress } from './port.ts'
import { parseDns, parseResult } from './previous.ts'
import type { CniDns, CniResult } from './result.ts'
import { CNI_VERSION_ABSENT, CNI_VERSIONS, type CniVersion, isCniVersion } from './versions.ts'

/** A configuration whose network name is good; the rest is as it came. */
export interface NetConf {
  readonly name: string
  readonly keys: Readonly<Record<string, unknown>>
}

const keysSchema = z.record(z.string(), z.unknown())
const attachmentsSchema = z.array(z.object({ containerID: z.string(), ifname: z.string() }))
const delegatedSchema = z.object({ type: z.string(), ipam: z.object({ type: z.literal(IPAM_TYPE) }) })
const subnetSchema = z.object({ subnet: z.string().nullish() }).nullish()
const wishesSchema = z.object({ ips: z.array(z.string()).nullish(), mac: z.string().nullish() })

export function parseNetConf(stdin: string): Result<NetConf, CniFault> {
  const document = parseJson(stdin)
  if (!document.ok) return err({ code: CniCode.decode, msg: 'cannot decode the network configuration', details: document.error })
  const keys = keysSchema.safeParse(document.value)
  if (!keys.success) return err({ code: CniCode.decode, msg: 'the network configuration is not a JSON object' })
  const name = keys.data['name'] ?? ''
  if (name === '') return err({ code: CniCode.config, msg: 'missing network name' })
  if (typeof name !== 'string' || !isName(name)) {
    return err({ code: CniCode.config, msg: 'invalid characters found in network name', details: String(name) })
  }
  return ok({ name, keys: keys.data })
}

function parseJson(text: string): Result<unknown, string> {
  try {
    return ok(JSON.parse(text))
  } catch (error) {
    return err(error instanceof Error ? error.message : String(error))
  }
}

/** Another plugin makes the interface, and asks us for its address only: it hands on its own configuration. */
export function isDelegated({ keys }: NetConf): boolean {
  const parsed = delegatedSchema.safeParse(keys)
  return parsed.success && parsed.data.type !== PLUGIN_TYPE
}

/** The configuration's version: one that we know, or none, which means the first. */
export function parseVersion({ keys }: NetConf): Result<CniVersion, CniFault> {
  const version = keys['cniVersion'] ?? ''
  if (typeof version !== 'string') return err({ code: CniCode.decode, msg: 'cniVersion is not a string' })
  if (version === '') return ok(CNI_VERSION_ABSENT)
  if (isCniVersion(version)) return ok(version)
  const supported = CNI_VERSIONS.map((known) => `"${known}"`).join(' ')
  const details = `config is ${JSON.stringify(version)}, plugin supports [${supported}]`
  return err({ code: CniCode.incompatibleVersion, msg: 'incompatible CNI versions', details })
}

/** Undefined when no plugin ran before this one. */
export function parsePrevResult({ keys }: NetConf, version: CniVersion): Result<CniResult | undefined, CniFault> {
  const document = keys['prevResult'] ?? undefined
  if (document === undefined) return ok(undefined)
  const result = parseResult(version, document)
  return result.ok ? result : err({ code: CniCode.decode, msg: 'cannot decode prevResult', details: result.error })
}

/** The resolver settings that the configuration prescribes; empty when it does not. */
export function parseConfDns({ keys }: NetConf): Result<CniDns, CniFault> {
  const dns = parseDns(keys['dns'])
  return dns.ok ? dns : err({ code: CniCode.config, msg: 'invalid dns', details: dns.error })
}

/**
 * The attachments that GC must keep. Undefined when the runtime gave no list (`cnitool gc` does so): then we cannot
 * know which are stale. libcni sends the list under an older, wrong name too.
 */
export function parseValidAttachments({ keys }: NetConf): Result<readonly AttachmentKey[] | undefined, CniFault> {
  const document = keys['cni.dev/valid-attachments'] ?? keys['cni.dev/attachments'] ?? undefined
  if (document === undefined) return ok(undefined)
  const parsed = attachmentsSchema.safeParse(document)
  if (!parsed.success) {
    return err({ code: CniCode.config, msg: 'invalid cni.dev/valid-attachments', details: z.prettifyError(parsed.error) })
  }
  const attachments: AttachmentKey[] = []
  for (const { containerID, ifname } of parsed.data) {
    const key = parseAttachmentKey(containerID, ifname)
    if (!key.ok)
      return err({ code: CniCode.config, msg: `invalid cni.dev/valid-attachments: ${key.error.msg}`, details: key.error.details })
    attachments.push(key.value)
  }
  return ok(attachments)
}

/** What the person wants the interface to have. */
export interface Wishes {
  /** Of either family; of a pair the router knows that it is one. */
  readonly addresses: readonly Ip[]
  /** Where its address is to be from. */
  readonly subnet: Cidr | undefined
  readonly mac: MacAddress | undefined
}

/**
 * From `runtimeConfig`, else `args.cni`, else CNI_ARGS (`IP`, `MAC`: podman), in this order of precedence. The subnet is the
 * network's, from `ipam.subnet`, and holds for whoever asks for an address too.
 * Keys match in any case: some runtimes marshal Go structures whose fields begin with a capital.
 */
export function parseWishes({ keys }: NetConf, args: ReadonlyMap<string, string>): Result<Wishes, CniFault> {
  const sources: z.infer<typeof wishesSchema>[] = []
  for (const document of [keys['runtimeConfig'], inside(keys['args'], 'cni')]) {
    const parsed = wishesSchema.nullish().safeParse(lowerCaseKeys(document))
    if (!parsed.success) return err({ code: CniCode.config, msg: 'invalid ips or mac', details: z.prettifyError(parsed.error) })
    sources.push(parsed.data ?? {})
  }
  const [ip, hardware] = [args.get('IP') ?? '', args.get('MAC') ?? '']
  sources.push({ ips: ip === '' ? [] : ip.split(','), mac: hardware })

  const texts = sources.map(({ ips }) => ips ?? []).find((ips) => ips.length > 0) ?? []
  const mac = sources.map((source) => source.mac ?? '').find((text) => text !== '')
  const subnet = parseSubnet(keys['ipam'])
  if (!subnet.ok) return subnet
  const wishes = parseWishTexts(texts, mac)
  return wishes.ok ? ok({ ...wishes.value, subnet: subnet.value }) : wishes
}

function parseSubnet(ipam: unknown): Result<Cidr | undefined, CniFault> {
  const parsed = subnetSchema.safeParse(ipam)
  if (!parsed.success) return err({ code: CniCode.config, msg: 'invalid ipam', details: z.prettifyError(parsed.error) })
  const text = parsed.data?.subnet ?? ''
  try {
    return ok(text === '' ? undefined : parseCidr(text))
  } catch (error) {
    return err({ code: CniCode.config, msg: 'ipam.subnet is not a subnet of IPv4', details: describeError(error) })
  }
}

function parseWishTexts(texts: readonly string[], mac: string | undefined): Result<Omit<Wishes, 'subnet'>, CniFault> {
  const addresses: Ip[] = []
  for (const text of texts) {
    const address = parseWantedAddress(text)
    if (address === undefined) return err({ code: CniCode.config, msg: 'an address asked for (ips, IP) is not one', details: text })
    addresses.push(address)
  }
  if (mac === undefined) return ok({ addresses, mac })
  const lower = mac.toLowerCase()
  if (!isMacAddress(lower)) return err({ code: CniCode.config, msg: 'the hardware address asked for (mac, MAC) is not one', details: mac })
  return ok({ addresses, mac: lower })
}

/** `ADDRESS` or `ADDRESS/LENGTH`; the length is the router's to decide. */
function parseWantedAddress(text: string): Ip | undefined {
  const [words = '', length = '0', more] = text.split('/')
  if (more !== undefined || !/^\d{1,3}$/.test(length)) return undefined
  try {
    const address = parseIp(words)
    return Number(length) <= (isIpv4(address) ? IPV4_BITS : IPV6_BITS) ? address : undefined
  } catch {
    return undefined
  }
}

/** An odd first octet makes a multicast address, which no interface may have. */
function isMacAddress(text: string): text is MacAddress {
  return /^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/.test(text)
}

function inside(document: unknown, key: string): unknown {
  const parsed = keysSchema.safeParse(document)
  return parsed.success ? parsed.data[key] : undefined
}

function lowerCaseKeys(document: unknown): unknown {
  const parsed = keysSchema.safeParse(document)
  if (!parsed.success) return document
  return Object.fromEntries(Object.entries(parsed.data).map(([key, value]) => [key.toLowerCase(), value]))
}
