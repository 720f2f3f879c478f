/** What holds around any pod network: order, undoing, and queued DELs. */
import { describe, expect, test } from 'vitest'
import { type AttachmentKey, parseAttachmentKey } from '../../../../plugin/environment.ts'
import type { AttachRequest, PodNetworkPort } from '../../../../plugin/port.ts'
import { inOrder } from '../../../../router/cni/ordered.ts'
import type { PendingDeletes } from '../../../../router/cni/pending.ts'
import type { Fd } from '../../../../router/kernel/native.ts'
import { PodNetworkModel } from '../../../support/pod-network-model.ts'

const forever = new AbortController().signal

function key(containerId: string): AttachmentKey {
  const parsed = parseAttachmentKey(containerId, 'eth0')
  if (!parsed.ok) throw new Error(parsed.error.msg)
  return parsed.value
}

function attachRequest(containerId: string): AttachRequest {
  const netns = { namespace: containerId.charCodeAt(0) as Fd, routeSocket: 9 as Fd }
  return { key: key(containerId), network: 'weft', netns, pod: undefined, addresses: [], mac: undefined }
}

/** Resolves when every promise that can settle now has. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve))

class MemoryPending implements PendingDeletes {
  readonly #keys = new Map<string, AttachmentKey>()

  constructor(...containerIds: readonly string[]) {
    for (const containerId of containerIds) this.#keys.set(containerId, key(containerId))
  }

  list = () => Promise.resolve([...this.#keys.values()])
  has = ({ containerId }: AttachmentKey) => Promise.resolve(this.#keys.has(containerId))
  remove = ({ containerId }: AttachmentKey) => {
    this.#keys.delete(containerId)
    return Promise.resolve()
  }
}

async function withPods(...containerIds: readonly string[]): Promise<PodNetworkModel> {
  const model = new PodNetworkModel()
  for (const containerId of containerIds) await model.attach(attachRequest(containerId), forever)
  return model
}

/** Finishes an attach that its asker has given up: the abort came too late for it. */
function deaf(model: PodNetworkModel): PodNetworkPort {
  return {
    attach: (request) => model.attach(request, forever),
    reserve: (request) => model.reserve(request, forever),
    reserved: (its) => model.reserved(its),
    release: (its) => model.release(its),
    detach: (its) => model.detach(its),
    check: (request) => model.check(request),
    status: () => model.status(),
    collect: (network, keep) => model.collect(network, keep),
  }
}

describe('an ADD whose asker is gone', () => {
  test('leaves nothing, even when it had just succeeded', async () => {
    const model = new PodNetworkModel()
    const release = model.hold()
    const abort = new AbortController()
    const attached = inOrder(deaf(model), new MemoryPending()).attach(attachRequest('a'), abort.signal)
    await settled()
    expect(model.busy).toBe(1)
    abort.abort()
    release()
    expect(await attached).toEqual({ ok: false, error: { code: 'cancelled' } })
    expect([model.attached, model.freeAddresses]).toEqual([[], 250])
  })

  test('leaves nothing reserved either', async () => {
    const model = new PodNetworkModel()
    const network = inOrder(deaf(model), new MemoryPending())
    const open = model.hold()
    const cancel = new AbortController()
    const reserving = network.reserve({ key: key('a'), addresses: [] }, cancel.signal)
    await settled()
    cancel.abort()
    open()
    expect(await reserving).toEqual({ ok: false, error: { code: 'cancelled' } })
    expect(await model.reserved(key('a'))).toBeUndefined()
    expect(model.freeAddresses).toBe(new PodNetworkModel().freeAddresses)
  })

  test('is not begun when that happened while it waited', async () => {
    const model = await withPods()
    const release = model.hold()
    const network = inOrder(deaf(model), new MemoryPending())
    const abort = new AbortController()
    const first = network.attach(attachRequest('a'), forever)
    const second = network.attach(attachRequest('a'), abort.signal)
    abort.abort()
    release()
    expect([(await first).ok, await second]).toEqual([true, { ok: false, error: { code: 'cancelled' } }])
    expect(model.attached).toEqual(['a/eth0'])
  })

  test('is undone before the DEL that follows, and the next ADD stays', async () => {
    const model = new PodNetworkModel()
    const release = model.hold()
    const network = inOrder(deaf(model), new MemoryPending())
    const abort = new AbortController()
    const killed = network.attach(attachRequest('a'), abort.signal)
    await settled()
    expect(model.busy).toBe(1)
    abort.abort()
    const deleted = network.detach(key('a'))
    const again = deleted.then(() => network.attach(attachRequest('a'), forever))
    release()
    expect([(await killed).ok, (await deleted).ok, (await again).ok]).toEqual([false, true, true])
    expect([model.attached, model.freeAddresses]).toEqual([['a/eth0'], 249])
  })
})

describe('queued DELs', () => {
  test('are carried out once, and what was never attached is no failure', async () => {
    const model = await withPods('a', 'b')
    const pending = new MemoryPending('a', 'x')
    const network = inOrder(model, pending)
    expect([await network.drain(), model.attached, await pending.list()]).toEqual([0, ['b/eth0'], []])
  })

  test('stay queued while they fail', async () => {
    const model = await withPods('a')
    const pending = new MemoryPending('a')
    const network = inOrder(model, pending)
    model.refusal = 'EBUSY'
    expect([await network.drain(), await pending.list()]).toEqual([1, [key('a')]])
    model.refusal = undefined
    expect([await network.drain(), await pending.list(), model.attached]).toEqual([0, [], []])
  })

  test('come before an ADD of the same attachment, and never undo it', async () => {
    const model = await withPods('a')
    const network = inOrder(model, new MemoryPending('a'))
    expect((await network.attach(attachRequest('a'), forever)).ok).toBe(true)
    expect([await network.drain(), model.attached]).toEqual([0, ['a/eth0']])
  })

  test('that are being carried out when the ADD comes do not undo it either', async () => {
    const model = await withPods('a', 'b')
    const network = inOrder(model, new MemoryPending('a', 'b'))
    const release = model.hold()
    const drained = network.drain()
    const attached = Promise.all(['a', 'b'].map((id) => network.attach(attachRequest(id), forever)))
    release()
    expect([await drained, (await attached).map(({ ok }) => ok)]).toEqual([0, [true, true]])
    expect(model.attached).toEqual(['a/eth0', 'b/eth0'])
  })

  test('come before what is reserved anew', async () => {
    const model = new PodNetworkModel()
    await model.reserve({ key: key('a'), addresses: [] }, forever)
    const reserved = await inOrder(model, new MemoryPending('a')).reserve({ key: key('a'), addresses: [] }, forever)
    expect(reserved.ok && (await model.reserved(key('a')))).toBe(reserved.ok && reserved.value)
  })

  test('keep an ADD from succeeding while they fail', async () => {
    const model = await withPods('a')
    const network = inOrder(model, new MemoryPending('a'))
    model.refusal = 'EBUSY'
    expect(await network.attach(attachRequest('a'), forever)).toEqual({
      ok: false,
      error: { code: 'kernel-refused', reason: 'a/eth0: EBUSY' },
    })
  })

  test('are settled by a DEL that the runtime repeats', async () => {
    const pending = new MemoryPending('a')
    await inOrder(await withPods('a'), pending).detach(key('a'))
    expect(await pending.list()).toEqual([])
  })
})

test('GC does not overlap with an ADD', async () => {
  const model = new PodNetworkModel()
  const release = model.hold()
  const network = inOrder(model, new MemoryPending())
  const attached = network.attach(attachRequest('a'), forever)
  const collected = network.collect('weft', [])
  await settled()
  expect(model.busy).toBe(1)
  release()
  expect([(await attached).ok, (await collected).ok, model.attached]).toEqual([true, true, []])
})
