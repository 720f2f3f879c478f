/**
 * What one neighbour may make us do by gossip about one channel. A neighbour has proved only that it knows the secret of
 * the cluster; one that is broken, or was taken over, must not cost us our processor. The limits are so wide that one
 * that works never meets them, whatever has happened to the mesh.
 */
import type { Millis } from './base/brand.ts'
import type { Result } from './base/result.ts'
import { type Budget, type BudgetPolicy, fullBudget, spend } from './budget.ts'
import type { GossipFault, Merged } from './gossip.ts'
import { QUEUE_BYTES_MAX } from './outbox.ts'
import { PEERS_MAX } from './peers.ts'

/**
 * The whole state at once, and again all of it: where a mesh starts or heals, every record comes, and many change soon
 * after. In the long run a peer publishes once in 5 s at most, and `PEERS_MAX` of them would be 819 a second. A signature
 * takes some 0.2 ms: a fifth of a processor, for one neighbour that tells the news of all.
 */
const EVERYTHING: BudgetPolicy = { burst: 2 * PEERS_MAX, perSecond: PEERS_MAX / 4 }

const POLICIES = {
  /** Deltas that are news. Each is passed on, so it is the whole mesh that this spares. */
  news: EVERYTHING,
  /** Deltas that are not. At once: all of an outbox, asked of two. In the long run: some 16 every 40 ms, more is offered. */
  waste: { burst: 2 * PEERS_MAX, perSecond: 512 },
  /** The same in bytes: two outboxes; and in the long run 512 times twice the length of a usual record, and more. */
  wasteBytes: { burst: 2 * QUEUE_BYTES_MAX, perSecond: 512 * 1024 },
  /** Deltas that nobody has signed. Who works checks them before it passes them on; bits that fall over are not so many. */
  forged: { burst: 32, perSecond: 1 },
  /** Keys that it asks for: no more than we have offered, and that is news. */
  wants: EVERYTHING,
  /** Offers of what we lack: as many as deltas that are news. Invented ones hold places among our wants, for a second each. */
  offers: EVERYTHING,
} as const satisfies Record<string, BudgetPolicy>

type Kind = keyof typeof POLICIES

const WORDS: Readonly<Record<Kind, string>> = {
  news: 'more news than all peers together have',
  waste: 'too much that is no news',
  wasteBytes: 'too many bytes that are no news',
  forged: 'too much that nobody has signed',
  wants: 'more asked for than there is',
  offers: 'more offered than there can be',
}

export class Allowance {
  readonly #budgets = new Map<Kind, Budget>()

  /** Why a delta of this length is not to be looked at any more; undefined when it is. What it costs is known afterwards: see `merged`. */
  excessOf(bytes: number, now: Millis): string | undefined {
    const costs: readonly (readonly [Kind, number])[] = [
      ['news', 1],
      ['waste', 1],
      ['wasteBytes', bytes],
      ['forged', 1],
    ]
    const kind = costs.find(([one, amount]) => this.#after(one, amount, now) === undefined)?.[0]
    return kind === undefined ? undefined : WORDS[kind]
  }

  /** A delta was merged, with this result. */
  merged(result: Result<Merged, GossipFault>, bytes: number, now: Millis): void {
    const faults = result.ok ? result.value.faults : [result.error]
    if (faults.some(({ code }) => code === 'signature')) this.#spend('forged', 1, now)
    if (result.ok && result.value.news.length > 0) {
      this.#spend('news', 1, now)
    } else {
      this.#spend('waste', 1, now)
      this.#spend('wasteBytes', bytes, now)
    }
  }

  /** Why so many keys are not to be answered, or so many offers not to be asked for; undefined when they are, and then they count. */
  spend(kind: 'wants' | 'offers', count: number, now: Millis): string | undefined {
    return this.#spend(kind, count, now) ? undefined : WORDS[kind]
  }

  #spend(kind: Kind, amount: number, now: Millis): boolean {
    const after = this.#after(kind, amount, now)
    if (after !== undefined) this.#budgets.set(kind, after)
    return after !== undefined
  }

  #after(kind: Kind, amount: number, now: Millis): Budget | undefined {
    const policy = POLICIES[kind]
    return spend(this.#budgets.get(kind) ?? fullBudget(policy, now), policy, amount, now)
  }
}
