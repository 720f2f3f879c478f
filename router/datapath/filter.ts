/** Keeps our nftables table as it must be: applied when the peers change, and again when somebody has changed or removed it. */
import { ok, type Result } from '../../mesh/base/result.ts'
import { applyRuleset, listRuleset, type NftError, type NftOptions } from '../kernel/nft.ts'
import { NFT_TABLE, type RulesetInput, renderRuleset, renderSets } from './ruleset.ts'

export class Filter {
  readonly #options: NftOptions
  #applied: { readonly ruleset: string; readonly sets: string; readonly listed: string } | undefined

  /** @param options which namespace; ours when absent. */
  constructor(options: NftOptions = {}) {
    this.#options = options
  }

  /**
   * Applies what differs from what we applied last. @param verify whether to ask the kernel if that still stands;
   * the value is whether it had to be put right although nothing else was wanted.
   */
  async ensure(input: RulesetInput, verify: boolean): Promise<Result<{ readonly repaired: boolean }, NftError>> {
    const ruleset = renderRuleset({ ...input, peers: [], own: [] })
    const sets = renderSets(input)
    const before = this.#applied
    if (before !== undefined && before.ruleset === ruleset) {
      if (before.sets !== sets) return this.#apply(sets, ruleset, sets, false)
      if (!verify || (await listing(this.#options)) === before.listed) return ok({ repaired: false })
    }
    return this.#apply(renderRuleset(input), ruleset, sets, before !== undefined)
  }

  async #apply(text: string, ruleset: string, sets: string, repaired: boolean): Promise<Result<{ readonly repaired: boolean }, NftError>> {
    this.#applied = undefined
    const applied = await applyRuleset(text, this.#options)
    if (!applied.ok) return applied
    this.#applied = { ruleset, sets, listed: await listing(this.#options) }
    return ok({ repaired })
  }
}

/** The table as the kernel has it, without what changes by itself: handles and counters. */
async function listing(options: NftOptions): Promise<string> {
  const listed = await listRuleset(['table', 'inet', NFT_TABLE], options)
  if (!listed.ok) return `${listed.error.code}: ${listed.error.message}`
  return JSON.stringify(listed.value, (key, value: unknown) =>
    key === 'handle' || key === 'packets' || key === 'bytes' ? undefined : value,
  )
}
