/** Results and resolver settings that others wrote: earlier plugins of the list, and people in the configuration. */
import { z } from 'zod'
import { err, ok, type Result } from '../mesh/base/result.ts'
import type { CniDns, CniResult } from './result.ts'
import { atLeast, type CniVersion } from './versions.ts'

/** Go writes an absent value as nothing, as null or as its zero. */
const text = z
  .string()
  .nullish()
  .transform((value) => (value === null || value === '' ? undefined : value))
const number = z
  .number()
  .int()
  .nonnegative()
  .nullish()
  .transform((value) => value ?? undefined)
const texts = z
  .array(z.string())
  .nullish()
  .transform((value) => (value === null || value?.length === 0 ? undefined : value))

const interfaceSchema = z.object({ name: z.string(), mac: text, mtu: number, sandbox: text, socketPath: text, pciID: text })
const addressSchema = z.object({ interface: number, address: z.string(), gateway: text })
const routeSchema = z.object({ dst: z.string(), gw: text, mtu: number, advmss: number, priority: number, table: number, scope: number })
const dnsSchema = z.object({ nameservers: texts, domain: text, search: texts, options: texts })
const familySchema = z.object({ ip: z.string(), gateway: text, routes: z.array(routeSchema).nullish() })

const legacySchema = z.object({ ip4: familySchema.nullish(), ip6: familySchema.nullish(), dns: dnsSchema.nullish() })
const resultSchema = z.object({
  interfaces: z.array(interfaceSchema).nullish(),
  ips: z.array(addressSchema).nullish(),
  routes: z.array(routeSchema).nullish(),
  dns: dnsSchema.nullish(),
})

/** The `dns` key of a configuration or result. */
export function parseDns(document: unknown): Result<CniDns, string> {
  const parsed = dnsSchema.nullish().safeParse(document)
  return parsed.success ? ok(withoutUndefined(parsed.data ?? {})) : err(z.prettifyError(parsed.error))
}

/** A previous result, which is in the configuration's version. */
export function parseResult(version: CniVersion, document: unknown): Result<CniResult, string> {
  if (!atLeast(version, '0.3.0')) return parseLegacy(document)
  const parsed = resultSchema.safeParse(document)
  if (!parsed.success) return err(z.prettifyError(parsed.error))
  const { interfaces, ips, routes, dns } = parsed.data
  return ok({
    interfaces: (interfaces ?? []).map(withoutUndefined),
    ips: (ips ?? []).map(withoutUndefined),
    routes: (routes ?? []).map(withoutUndefined),
    dns: withoutUndefined(dns ?? {}),
  })
}

function parseLegacy(document: unknown): Result<CniResult, string> {
  const parsed = legacySchema.safeParse(document)
  if (!parsed.success) return err(z.prettifyError(parsed.error))
  const { ip4, ip6, dns } = parsed.data
  const families = [ip4, ip6].filter((family) => family !== undefined && family !== null)
  return ok({
    interfaces: [],
    ips: families.map(({ ip, gateway }) => withoutUndefined({ address: ip, gateway })),
    routes: families.flatMap(({ routes }) => (routes ?? []).map(withoutUndefined)),
    dns: withoutUndefined(dns ?? {}),
  })
}

function withoutUndefined<T extends object>(fields: T): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T
}
