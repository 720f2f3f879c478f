/** Which attachments are being worked on, so that whoever looks at them meanwhile takes nothing half-done for a fault. */
import type { AttachmentKey } from '../../ipam/attachment.ts'

export class Activity {
  readonly #counts = new Map<AttachmentKey, number>()
  readonly #observers = new Set<Set<AttachmentKey>>()

  /** Work on `key` goes on until disposed. */
  begin(key: AttachmentKey): Disposable {
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1)
    for (const observer of this.#observers) observer.add(key)
    return {
      [Symbol.dispose]: () => {
        const left = (this.#counts.get(key) ?? 1) - 1
        if (left === 0) this.#counts.delete(key)
        else this.#counts.set(key, left)
      },
    }
  }

  /** All that is worked on at any moment from now until disposed. */
  observe(): Disposable & { readonly keys: ReadonlySet<AttachmentKey> } {
    const keys = new Set(this.#counts.keys())
    this.#observers.add(keys)
    return { keys, [Symbol.dispose]: () => void this.#observers.delete(keys) }
  }
}
