/** Serves the API over HTTP on a unix socket that only root may open. */
import { chmod } from 'node:fs/promises'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { WeftError } from '../../mesh/base/errors.ts'
import { http } from '../../mesh/base/http.ts'
import type { Logger } from '../../mesh/base/log.ts'
import { type AccountPorts, handleAccounts } from './accounts.ts'
import { type ApiPorts, type ApiResponse, handleApi } from './handlers.ts'
import { claimSocketPath } from './unix-socket.ts'

/** A list of every target anybody could have fits; more is not read. */
const BODY_BYTES_MAX = 512 * 1024
/** Clients are commands of this machine: more at once are a mistake. */
const CONNECTIONS_MAX = 64
const REQUEST_MS_MAX = 5_000

interface ApiServerOptions {
  readonly path: string
  readonly ports: ApiPorts
  readonly accounts: AccountPorts
  readonly log: Logger
}

export class ApiServer implements AsyncDisposable {
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
  }

  /** @throws {WeftError} CONFLICT when another router serves this socket. */
  static async start({ path, ports, accounts, log }: ApiServerOptions): Promise<ApiServer> {
    await claimSocketPath(path)
    const server = http.createServer({ requestTimeout: REQUEST_MS_MAX, headersTimeout: REQUEST_MS_MAX }, (request, response) => {
      answer(request, response, { ports, accounts }).catch((error: unknown) => {
        log.warn({ reason: String(error) }, 'an API request failed')
        response.destroy()
      })
    })
    server.maxConnections = CONNECTIONS_MAX
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause) => reject(new WeftError('STATE', `cannot serve the API on ${path}`, { cause })))
      server.listen(path, resolve)
    })
    await chmod(path, 0o600)
    return new ApiServer(server)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { ports, accounts }: Pick<ApiServerOptions, 'ports' | 'accounts'>,
): Promise<void> {
  const body = await readBody(request)
  const url = new URL(request.url ?? '/', 'http://weft')
  const query = new Map(url.searchParams)
  const asked = body === undefined ? undefined : { method: request.method ?? 'GET', path: url.pathname, query, body }
  const result: ApiResponse =
    asked === undefined
      ? { status: 413, contentType: 'application/json', body: '{"error":"the request is too long"}\n' }
      : ((await handleAccounts(asked, accounts)) ?? (await handleApi(asked, ports)))
  response.writeHead(result.status, { 'content-type': result.contentType, connection: 'close' })
  response.end(result.body, result.afterwards)
}

/** The whole body, or undefined when it is longer than we read. */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > BODY_BYTES_MAX) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
