/** What a container runtime makes of a network configuration list: the version to speak, and each plugin's request (as libcni does). */
import { z } from 'zod'
import { describeError } from '../../mesh/base/errors.ts'
import { err, ok, type Result } from '../../mesh/base/result.ts'
import { atLeast, CNI_VERSIONS, type CniVersion, isCniVersion } from '../../plugin/versions.ts'

/** A list longer than this is not a chain of plugins any more. */
const PLUGINS_MAX = 32

const pluginSchema = z.looseObject({
  type: z.string().regex(/^[^/\s]+$/, 'not the name of a plugin'),
})

const listSchema = z.looseObject({
  cniVersion: z.string().optional(),
  cniVersions: z.array(z.string()).optional(),
  name: z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/, 'not the name of a network'),
  plugins: z.array(pluginSchema).min(1).max(PLUGINS_MAX),
})

/** A plugin's own part of the list: its keys are the plugin's business. */
export interface PluginConfig {
  readonly type: string
  readonly [key: string]: unknown
}

export interface NetworkList {
  readonly name: string
  /** The highest that the list offers and we know. */
  readonly version: CniVersion
  readonly plugins: readonly PluginConfig[]
}

export type CniDocument = Readonly<Record<string, unknown>>

/** A plugin's answer, whose shape depends on the version: JSON objects are passed on as they are. */
export const documentSchema: z.ZodType<CniDocument> = z.record(z.string(), z.unknown())

/** The error is for people. */
export function parseConflist(text: string): Result<NetworkList, string> {
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch (error) {
    return err(`not JSON: ${describeError(error)}`)
  }
  const parsed = listSchema.safeParse(document)
  if (!parsed.success) return err(z.prettifyError(parsed.error))
  const { name, cniVersion, cniVersions = [], plugins } = parsed.data
  const offered = [...(cniVersion === undefined ? [] : [cniVersion]), ...cniVersions]
  const version = offered
    .filter(isCniVersion)
    .toSorted((a, b) => CNI_VERSIONS.indexOf(a) - CNI_VERSIONS.indexOf(b))
    .at(-1)
  if (version === undefined) return err(`it offers versions ${offered.join(', ') || '(none)'}, of which we know none`)
  return ok({ name, version, plugins })
}

/**
 * The request that one plugin gets on standard input: its own keys, and what the runtime adds. There is no
 * `runtimeConfig`: the lab has none of what capabilities ask for (host ports, bandwidths, pod annotations).
 * @param prevResult ADD: the answer of the plugin before; DEL: the answer to the whole ADD; undefined when there is none.
 */
export function pluginRequest(list: NetworkList, plugin: PluginConfig, prevResult: CniDocument | undefined): CniDocument {
  // What the plugin can do was for us to read.
  const { capabilities: _, ...own } = plugin
  return { ...own, cniVersion: list.version, name: list.name, ...(prevResult === undefined ? {} : { prevResult }) }
}

/** DEL has a `prevResult` since 0.4.0 only. */
export function resultForDel(list: NetworkList, added: CniDocument | undefined): CniDocument | undefined {
  return atLeast(list.version, '0.4.0') ? added : undefined
}

const resultSchema = z.object({ ips: z.array(z.object({ address: z.string() })).optional() })

/** The first address of each family in a result of version 0.3.0 or later, without their prefix lengths. */
export function addressesIn(result: CniDocument): { readonly address: string | undefined; readonly address6: string | undefined } {
  const parsed = resultSchema.safeParse(result)
  const addresses = parsed.success ? (parsed.data.ips ?? []) : []
  const plain = addresses.map(({ address }) => address.replace(/\/.*/, ''))
  return {
    address: plain.find((address) => z.ipv4().safeParse(address).success),
    address6: plain.find((address) => z.ipv6().safeParse(address).success),
  }
}

const faultSchema = z.object({ code: z.number(), msg: z.string(), details: z.string().optional() })

export interface PluginFault {
  readonly code: number
  readonly msg: string
  readonly details?: string | undefined
}

/** What a plugin that failed printed; undefined when that is no error object. */
export function parseFault(stdout: string): PluginFault | undefined {
  try {
    const parsed = faultSchema.safeParse(JSON.parse(stdout))
    return parsed.success ? parsed.data : undefined
  } catch {
    return undefined
  }
}
