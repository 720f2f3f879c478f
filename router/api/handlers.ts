/** The API as a function: a request and the router's ports in, an answer out. */
import { z } from 'zod'
import { describeError, WeftError } from '../../mesh/base/errors.ts'
import type { ApiError, KeysReport, RemovalReport, ResetReport, Snapshot } from './contract.ts'
import { renderConnections, renderIpam, renderPeers, renderStatus, renderTargets } from './status.ts'

export interface ApiRequest {
  readonly method: string
  readonly path: string
  readonly query: ReadonlyMap<string, string>
  readonly body: string
}

export interface ApiResponse {
  readonly status: number
  readonly contentType: 'application/json' | 'text/plain; charset=utf-8'
  readonly body: string
  /** To be done when the answer has been sent. */
  readonly afterwards?: () => void
}

/** What the API can do with the router. */
export interface ApiPorts {
  snapshot(): Snapshot
  /** @throws {WeftError} USAGE when a target is not HOST or HOST:PORT. */
  connect(targets: readonly string[], replace: boolean): void
  /** The targets of these that were known, and are no longer. */
  forget(targets: readonly string[]): readonly string[]
  keys(): KeysReport
  /**
   * Decides between our ring and another one that has met it, `ring` if there are several.
   * @returns the id of the ring that stands.
   * @throws {WeftError} USAGE when there is nothing to decide.
   */
  resolveRings(keep: 'ours' | 'theirs', ring: string | undefined): string
  /** @throws {WeftError} USAGE when the keys cannot be changed now. */
  rotateKeys(leaveAbsent: boolean): KeysReport
  /** @throws {WeftError} USAGE when there is no such peer, it lives, or others do not agree. */
  removePeer(peer: string, leaveAbsent: boolean): Promise<RemovalReport>
  /** Hands over all addresses. @throws {WeftError} USAGE when pods have some, or nobody takes them. */
  reset(force: boolean): Promise<ResetReport>
  /** Stops the router. */
  stop(): void
}

interface View {
  readonly text: (snapshot: Snapshot) => string
  readonly json: (snapshot: Snapshot) => unknown
}

/** GET /status/PART; GET /status is the whole. */
const VIEWS: Readonly<Record<string, View>> = {
  connections: { text: ({ router }) => renderConnections(router.connections), json: ({ router }) => router.connections },
  peers: { text: ({ router }) => renderPeers(router.peers), json: ({ router }) => router.peers },
  ipam: { text: renderIpam, json: ({ ipam }) => ipam },
  targets: { text: ({ router }) => renderTargets(router.targets), json: ({ router }) => router.targets },
}

/** The parts that `weft status PART` knows. */
export const STATUS_PARTS: readonly string[] = Object.keys(VIEWS)

/** Far more than anybody has; it bounds what one request can make us dial. */
const TARGETS_MAX = 1_000
const TARGET_LENGTH_MAX = 260

const targetsBody = z.strictObject({
  peers: z.array(z.string().min(1).max(TARGET_LENGTH_MAX)).max(TARGETS_MAX),
  replace: z.boolean().optional(),
})

const rotateBody = z.strictObject({ leaveAbsent: z.boolean().optional() })

const RING_ID_LENGTH_MAX = 64

const resolveBody = z.strictObject({ keep: z.enum(['ours', 'theirs']), ring: z.string().max(RING_ID_LENGTH_MAX).optional() })

const NAME_LENGTH_MAX = 255
const removeBody = z.strictObject({ peer: z.string().min(1).max(NAME_LENGTH_MAX), leaveAbsent: z.boolean().optional() })
const resetBody = z.strictObject({ force: z.boolean().optional() })

/** Never rejects: whatever a request asks for, it gets an answer. */
export async function handleApi(request: ApiRequest, ports: ApiPorts): Promise<ApiResponse> {
  try {
    return await route(request, ports)
  } catch (error) {
    return refusal(error)
  }
}

/** The answer to a request that failed so. */
export function refusal(error: unknown): ApiResponse {
  if (error instanceof WeftError && (error.code === 'USAGE' || error.code === 'INPUT')) return problem(400, error.message, error.hint)
  return problem(500, describeError(error))
}

async function route(request: ApiRequest, ports: ApiPorts): Promise<ApiResponse> {
  const { method, path } = request
  if (method === 'GET') return get(request, ports) ?? problem(404, `there is no ${path}`)
  if (method !== 'POST') return problem(405, `${method} is not allowed on ${path}`)
  if (path === '/connect') {
    const { peers, replace = false } = parseTargets(request.body)
    ports.connect(peers, replace)
    return json(200, { connected: peers })
  }
  if (path === '/forget') return json(200, { forgotten: ports.forget(parseTargets(request.body).peers) })
  if (path === '/keys/rotate') {
    const { leaveAbsent = false } = parseBody(request.body, rotateBody, '{"leaveAbsent": true or false}')
    return json(200, ports.rotateKeys(leaveAbsent))
  }
  if (path === '/ipam/resolve') {
    const { keep, ring } = parseBody(request.body, resolveBody, '{"keep": "ours" or "theirs"}')
    return json(200, { ring: ports.resolveRings(keep, ring) })
  }
  if (path === '/peers/remove') {
    const { peer, leaveAbsent = false } = parseBody(request.body, removeBody, '{"peer": "NAME or NICKNAME", "leaveAbsent": true or false}')
    return json(200, await ports.removePeer(peer, leaveAbsent))
  }
  if (path === '/reset') {
    const { force = false } = parseBody(request.body, resetBody, '{"force": true or false}')
    return { ...json(200, await ports.reset(force)), afterwards: () => ports.stop() }
  }
  return problem(404, `there is no ${path}`)
}

function get({ path, query }: ApiRequest, ports: ApiPorts): ApiResponse | undefined {
  if (path === '/report') return json(200, ports.snapshot())
  if (path === '/keys') return json(200, ports.keys())
  const [, first, part, ...more] = path.split('/')
  if (first !== 'status' || more.length > 0) return undefined
  const view = part === undefined ? { text: renderStatus, json: (whole: Snapshot) => whole } : VIEWS[part]
  if (view === undefined) return undefined
  const snapshot = ports.snapshot()
  const status = snapshot.ready || part !== undefined ? 200 : 503
  return query.get('format') === 'text' ? plain(status, view.text(snapshot)) : json(status, view.json(snapshot))
}

function parseTargets(body: string): z.infer<typeof targetsBody> {
  return parseBody(body, targetsBody, '{"peers": ["HOST[:PORT]", …]}')
}

/** @throws {WeftError} INPUT that says what the body should be. */
export function parseBody<T>(body: string, schema: z.ZodType<T>, shape: string): T {
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch (cause) {
    throw new WeftError('INPUT', 'the request is not JSON', { cause })
  }
  const parsed = schema.safeParse(value)
  if (!parsed.success) throw new WeftError('INPUT', z.prettifyError(parsed.error), { hint: `send ${shape}` })
  return parsed.data
}

export function json(status: number, value: unknown): ApiResponse {
  return { status, contentType: 'application/json', body: `${JSON.stringify(value)}\n` }
}

export function plain(status: number, body: string): ApiResponse {
  return { status, contentType: 'text/plain; charset=utf-8', body }
}

function problem(status: number, error: string, hint?: string): ApiResponse {
  const body: ApiError = hint === undefined ? { error } : { error, hint }
  return json(status, body)
}
