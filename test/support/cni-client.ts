/**
 * A client of the router's CNI socket in this process: what the relay says, with the descriptors of a real pod, without
 * a process for each call. So hundreds of pods cost what the router needs for them.
 */
import type { Millis } from '../../mesh/base/brand.ts'
import { millis, seconds } from '../../mesh/base/brand.ts'
import { concatBytes } from '../../mesh/base/bytes.ts'
import { sleep, systemClock } from '../../mesh/base/clock.ts'
import { errnoCode } from '../../mesh/base/errors.ts'
import { type Fd, native } from '../../router/kernel/native.ts'
import { openNetlinkSocket } from '../../router/kernel/netlink.ts'
import type { Netns } from './netns.ts'

const AF_UNIX = 1
const SOCK_STREAM = 1
const NOWHERE = new Uint8Array(0)
const ANSWER_BYTES_MAX = 64 * 1024

/** As the relay: when the router's backlog is full, and how long an answer may take. */
const CONNECT_RETRY = millis(20)
const DEADLINE: Millis = seconds(60)

/** In what the plugin prints. */
export interface CniDocument {
  readonly code?: number
  readonly msg?: string
  readonly ips?: readonly { readonly address: string }[]
}

export type CniOutcome =
  | { readonly kind: 'done'; readonly address: string | undefined }
  /** The plugin said no, and why. */
  | { readonly kind: 'refused'; readonly code: number; readonly msg: string }
  /** No router, or none any more: what became of the call nobody knows. */
  | { readonly kind: 'gone'; readonly reason: string }

export interface CniCall {
  readonly containerId: string
  /** Not passed when undefined, as of a pod that is gone. */
  readonly pod: Pick<Netns, 'fd' | 'path'> | undefined
  /** CNI_ARGS. */
  readonly args?: string
  /** Hangs up. */
  readonly signal?: AbortSignal
}

export class CniClient {
  readonly #address: Uint8Array

  constructor(socketPath: string) {
    this.#address = Uint8Array.from([AF_UNIX, 0, ...Buffer.from(socketPath), 0])
  }

  add(call: CniCall): Promise<CniOutcome> {
    return this.#call('ADD', call)
  }

  del(call: CniCall): Promise<CniOutcome> {
    return this.#call('DEL', call)
  }

  async #call(command: 'ADD' | 'DEL', { containerId, pod, args = '', signal }: CniCall): Promise<CniOutcome> {
    const env = { CNI_COMMAND: command, CNI_CONTAINERID: containerId, CNI_NETNS: pod?.path ?? '', CNI_IFNAME: 'eth0', CNI_ARGS: args }
    const line = `${JSON.stringify({ env, stdin: '{"cniVersion":"1.0.0","name":"weft","type":"weft-cni"}' })}\n`
    const calls = native()
    const fd = calls.socket(-1, AF_UNIX, SOCK_STREAM, 0)
    const passed = command === 'ADD' && pod !== undefined ? [openNetlinkSocket({ netns: pod.fd })] : []
    const limit = AbortSignal.any([AbortSignal.timeout(DEADLINE), ...(signal === undefined ? [] : [signal])])
    try {
      await this.#connect(fd, limit)
      const descriptors = pod === undefined || passed.length === 0 ? [] : [pod.fd, ...passed]
      const sent = calls.send(fd, Buffer.from(line), NOWHERE, descriptors)
      if (sent !== line.length) throw new Error('a request that does not fit into a socket')
      return outcomeOf(await readAll(fd, limit))
    } catch (error) {
      const reason = errnoCode(error) ?? (limit.aborted ? 'hung up' : undefined)
      if (reason === undefined) throw error
      return { kind: 'gone', reason }
    } finally {
      for (const open of [...passed, fd]) calls.close(open)
    }
  }

  async #connect(fd: Fd, limit: AbortSignal): Promise<void> {
    for (;;) {
      limit.throwIfAborted()
      try {
        native().connect(fd, this.#address)
        return
      } catch (error) {
        if (errnoCode(error) !== 'EAGAIN') throw error
        await sleep(CONNECT_RETRY)
      }
    }
  }
}

/** Until the other side closes. @throws when `limit` aborts first, or the connection breaks. */
async function readAll(fd: Fd, limit: AbortSignal): Promise<string> {
  const buffer = new Uint8Array(ANSWER_BYTES_MAX)
  const chunks: Uint8Array[] = []
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const watch = native().watch(fd, true, () => {
    try {
      const received = native().receive(fd, buffer)
      if (received === undefined) return
      if (received.bytes === 0) resolve()
      else chunks.push(buffer.slice(0, received.bytes))
    } catch (error) {
      reject(error)
    }
  })
  const abort = (): void => reject(new Error('hung up'))
  limit.addEventListener('abort', abort, { once: true })
  if (limit.aborted) abort()
  try {
    await promise
  } finally {
    limit.removeEventListener('abort', abort)
    native().unwatch(watch)
  }
  return Buffer.from(concatBytes(chunks)).toString()
}

/** `EXIT-CODE SP LENGTH LF BODY`; whoever dies in the midst of it has not answered. */
function outcomeOf(text: string): CniOutcome {
  const [, code, length, body = ''] = /^(\d+) (\d+)\n([\s\S]*)$/.exec(text) ?? []
  if (code === undefined || Buffer.byteLength(body) !== Number(length)) return { kind: 'gone', reason: 'no whole answer' }
  const document = (body === '' ? {} : JSON.parse(body)) as CniDocument
  if (code !== '0') return { kind: 'refused', code: document.code ?? -1, msg: document.msg ?? '' }
  return { kind: 'done', address: document.ips?.[0]?.address.replace('/32', '') }
}

/** How long `work` took, in milliseconds, and what came of it. */
export async function timed<T>(work: () => Promise<T>): Promise<{ readonly ms: number; readonly result: T }> {
  const start = systemClock.now()
  const result = await work()
  return { ms: systemClock.now() - start, result }
}
