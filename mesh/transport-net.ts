/** The transport of real networks: one port for all who come, and for each target the way that its scheme says. */
import type { Clock } from './base/clock.ts'
import type { Logger } from './base/log.ts'
import { isWeb } from './endpoint.ts'
import { listen } from './listener.ts'
import type { Transport } from './transport.ts'
import { dialTcp } from './transport-tcp.ts'
import { webDialer } from './transport-ws.ts'

export interface NetOptions {
  readonly clock: Clock
  readonly log: Logger
  /** Certificates (PEM) of authorities to trust for `wss://` besides the system's. */
  readonly authorities?: string | undefined
}

export function netTransport({ clock, log, authorities }: NetOptions): Transport {
  const web = webDialer(clock, authorities)
  return {
    listen: (at, accept) => listen(at, accept, { clock, log }),
    dial: (to, done) => (isWeb(to) ? web.dial(to, done) : dialTcp(to, done, clock)),
  }
}
