/** The CNI service of a router: the plugin behind its socket, and the DELs that were queued while no router ran. */
import { seconds } from '../../mesh/base/brand.ts'
import { type Clock, every } from '../../mesh/base/clock.ts'
import { describeError } from '../../mesh/base/errors.ts'
import type { Logger } from '../../mesh/base/log.ts'
import { handleCni } from '../../plugin/cni.ts'
import type { PodNetworkPort } from '../../plugin/port.ts'
import type { CniHandler } from './connection.ts'
import { inOrder, type OrderedPodNetwork } from './ordered.ts'
import { openPendingDeletes } from './pending.ts'
import { CniServer } from './server.ts'

export interface CniOptions {
  readonly socketPath: string
  /** Where the relay queues DELs: `WEFT_CNI_PENDING` of its environment. */
  readonly pendingDirectory: string
  readonly port: PodNetworkPort
  readonly clock: Clock
  readonly log: Logger
}

/** A queued DEL that fails is tried again this much later. */
const DRAIN_PERIOD = seconds(30)

/**
 * Listens first, then reads the queue: a relay that found nobody listening has queued its DEL before the queue is
 * read, or else finds us when it asks once more.
 * @throws {WeftError} CONFLICT when another router serves the socket; KERNEL when it cannot be made.
 */
export async function startCni({ socketPath, pendingDirectory, port, clock, log }: CniOptions): Promise<AsyncDisposable> {
  const network = inOrder(port, await openPendingDeletes(pendingDirectory, log))
  const server = await CniServer.start({ path: socketPath, handler: logged(network, clock, log), clock, log })
  const draining = keepDraining(network, clock, log)
  return {
    async [Symbol.asyncDispose]() {
      await draining[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

/** Disposing it waits for the DEL under way. */
function keepDraining(network: OrderedPodNetwork, clock: Clock, log: Logger): AsyncDisposable {
  let underWay: Promise<void> | undefined
  async function drain(): Promise<void> {
    try {
      const failed = await network.drain()
      if (failed > 0) log.warn({ count: failed }, 'queued DELs failed and will be tried again')
    } catch (error) {
      log.warn({ reason: describeError(error) }, 'cannot carry out the queued DELs')
    }
    underWay = undefined
  }
  function start(): void {
    underWay ??= drain()
  }
  start()
  const timer = every(clock, DRAIN_PERIOD, start)
  return {
    async [Symbol.asyncDispose]() {
      timer[Symbol.dispose]()
      await underWay
    },
  }
}

function logged(network: OrderedPodNetwork, clock: Clock, log: Logger): CniHandler {
  return async (request, signal) => {
    const start = clock.now()
    const reply = await handleCni(request, network, signal)
    const fields = {
      operation: request.env['CNI_COMMAND'] ?? '',
      containerId: request.env['CNI_CONTAINERID'] ?? '',
      ifname: request.env['CNI_IFNAME'] ?? '',
      durationMs: Math.round(clock.now() - start),
    }
    if (reply.exitCode === 0) log.info(fields, 'CNI request done')
    else log.warn({ ...fields, reason: reply.stdout.trim() }, 'CNI request failed')
    return reply
  }
}
