/** The part of the API that asks other peers or the kernel, and so takes a while: the account of addresses. */
import { z } from 'zod'
import type { CheckReport, GcReport, RecoverReport } from './contract.ts'
import { type ApiRequest, type ApiResponse, json, parseBody, plain, refusal } from './handlers.ts'

export interface AccountPorts {
  check(): Promise<CheckReport>
  /** @throws {WeftError} KERNEL */
  collect(dryRun: boolean): Promise<GcReport>
  recover(): RecoverReport
}

/** The check was done, and found something. */
const HTTP_CONFLICT = 409

const gcBody = z.strictObject({ dryRun: z.boolean().optional() })

/** Undefined when the request is for something else. Never rejects. */
export async function handleAccounts(request: ApiRequest, ports: AccountPorts): Promise<ApiResponse | undefined> {
  try {
    return await route(request, ports)
  } catch (error) {
    return refusal(error)
  }
}

async function route({ method, path, query, body }: ApiRequest, ports: AccountPorts): Promise<ApiResponse | undefined> {
  switch (`${method} ${path}`) {
    case 'GET /ipam/check': {
      const report = await ports.check()
      const status = report.ok ? 200 : HTTP_CONFLICT
      return query.get('format') === 'text' ? plain(status, renderCheck(report)) : json(status, report)
    }
    case 'POST /ipam/gc': {
      const { dryRun = false } = parseBody(body, gcBody, '{"dryRun": true or false}')
      return json(200, await ports.collect(dryRun))
    }
    case 'POST /ipam/recover':
      return json(200, ports.recover())
    default:
      return undefined
  }
}

/** `weft ipam check`. */
export function renderCheck({ ok, range, addresses, allocated, living, findings, peers }: CheckReport): string {
  const heard = peers.filter(({ ring }) => ring !== 'unheard').length
  if (ok) {
    const others = `${heard} ${heard === 1 ? 'peer has' : 'peers have'} the same ring`
    return `each of the ${addresses} addresses of ${range} has one owner, and each of the ${allocated} allocated ones belongs to an attachment that exists; ${others}\n`
  }
  const count = `${findings.length} ${findings.length === 1 ? 'finding' : 'findings'}; ${allocated} addresses allocated, ${living} attachments exist, ${heard} of ${peers.length} peers heard`
  return [...findings, count].map((line) => `${line}\n`).join('')
}
