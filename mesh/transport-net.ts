/** The transport of real networks: one port for all who come, and for each target the way that its scheme says. */
import type { Clock } from './base/clock.ts'
import { describeError } from './base/errors.ts'
import type { Logger } from './base/log.ts'
import { err, type Result } from './base/result.ts'
import { formatTarget, isWeb, type WebTarget } from './endpoint.ts'
import { listen } from './listener.ts'
import type { Stream, Transport } from './transport.ts'
import { dialTcp } from './transport-tcp.ts'
import type { WebDialer } from './transport-ws.ts'

export interface NetOptions {
  readonly clock: Clock
  readonly log: Logger
  /** Certificates (PEM) of authorities to trust for `wss://` besides the system's. */
  readonly authorities?: string | undefined
}

export function netTransport({ clock, log, authorities }: NetOptions): Transport {
  const web = webOnDemand(clock, authorities)
  return {
    listen: (at, accept) => listen(at, accept, { clock, log }),
    dial: (to, done) => (isWeb(to) ? dialWeb(to, done, web) : dialTcp(to, done, clock)),
  }
}

/** Loaded by the first target that is one of the web's: most routers have none, and it holds 4 MB. */
function webOnDemand(clock: Clock, authorities: string | undefined): () => Promise<WebDialer> {
  let loading: Promise<WebDialer> | undefined
  return () => {
    loading ??= import('./transport-ws.ts').then(({ webDialer }) => webDialer(clock, authorities))
    return loading
  }
}

function dialWeb(to: WebTarget, done: (outcome: Result<Stream, string>) => void, load: () => Promise<WebDialer>): Disposable {
  let isOver = false
  let dialing: Disposable | undefined
  load().then(
    (web) => {
      if (!isOver) dialing = web.dial(to, done)
    },
    (cause: unknown) => {
      if (!isOver) done(err(`dial ${formatTarget(to)}: ${describeError(cause)}`))
    },
  )
  return {
    [Symbol.dispose]: () => {
      isOver = true
      dialing?.[Symbol.dispose]()
    },
  }
}
