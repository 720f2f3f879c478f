/**
 * The promises that the plugin's callers rely on, kept around any pod network:
 * - calls for one attachment do not overlap, also when a runtime kills an ADD and sends the DEL at once
 * - an ADD whose asker went away leaves nothing behind, even when that happens at the last moment
 * - a DEL that was queued while no router ran is carried out before an ADD of the same attachment, never after it
 */
import { err, ok, type Result } from '../../mesh/base/result.ts'
import type { AttachmentKey } from '../../plugin/environment.ts'
import type { DetachFailure, PodNetworkPort } from '../../plugin/port.ts'
import type { PendingDeletes } from './pending.ts'
import { Turns } from './turns.ts'

export interface OrderedPodNetwork extends PodNetworkPort {
  /** Carries out the queued DELs. The value is how many failed and stay queued. */
  drain(): Promise<number>
}

type NotAdded = DetachFailure | { readonly code: 'cancelled' }

export function inOrder(port: PodNetworkPort, pending: PendingDeletes): OrderedPodNetwork {
  const turns = new Turns()

  async function detach(key: AttachmentKey): Promise<Result<void, DetachFailure>> {
    const detached = await port.detach(key)
    if (detached.ok) await pending.remove(key)
    return detached
  }

  async function replay(key: AttachmentKey): Promise<Result<void, DetachFailure>> {
    return (await pending.has(key)) ? detach(key) : ok(undefined)
  }

  async function adding<T, E>(key: AttachmentKey, signal: AbortSignal, add: () => Promise<Result<T, E>>): Promise<Result<T, E | NotAdded>> {
    const replayed = await replay(key)
    if (!replayed.ok) return replayed
    if (signal.aborted) return err({ code: 'cancelled' })
    const added = await add()
    if (!added.ok || !signal.aborted) return added
    const undone = await port.detach(key)
    return undone.ok ? err({ code: 'cancelled' }) : undone
  }

  async function drain(): Promise<number> {
    let failed = 0
    for (const key of await pending.list()) {
      const replayed = await turns.run(name(key), () => replay(key))
      if (!replayed.ok) failed += 1
    }
    return failed
  }

  return {
    attach: (request, signal) => turns.run(name(request.key), () => adding(request.key, signal, () => port.attach(request, signal))),
    reserve: (request, signal) => turns.run(name(request.key), () => adding(request.key, signal, () => port.reserve(request, signal))),
    reserved: (key) => turns.run(name(key), () => port.reserved(key)),
    release: (key) => turns.run(name(key), () => port.release(key)),
    detach: (key) => turns.run(name(key), () => detach(key)),
    check: (request) => turns.run(name(request.key), () => port.check(request)),
    status: () => port.status(),
    collect: (network, keep) => turns.exclusive(() => port.collect(network, keep)),
    drain,
  }
}

/** No container id has a slash. */
function name({ containerId, ifname }: AttachmentKey): string {
  return `${containerId}/${ifname}`
}
