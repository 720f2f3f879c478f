/** Three peers whose callers want anything, subnets and single addresses, give up, free, and are cut off from each other. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Ipam } from '../../../ipam/ipam.ts'
import { formatIpv4 } from '../../../mesh/base/address.ts'
import { millis, type PeerName, seconds } from '../../../mesh/base/brand.ts'
import { key, peer } from '../../support/ipam.ts'
import { type Asker, ask } from '../../support/ipam-asker.ts'
import { IpamGroup } from '../../support/ipam-group.ts'

type Step =
  | { readonly kind: 'ask'; readonly who: number; readonly pod: number; readonly wanted: string }
  | { readonly kind: 'free' | 'give up'; readonly who: number; readonly pod: number }
  | { readonly kind: 'cut' | 'deafen' | 'heal'; readonly who: number }
  | { readonly kind: 'pass'; readonly time: number }

const WHO = ['a', 'b', 'c']
const who = fc.nat(2)
const pod = fc.nat(5)
const wanted = fc.oneof(
  fc.constantFrom('', '10.32.0.0/30', '10.32.0.8/29', '10.32.0.16/28', '10.32.0.0/28'),
  fc.integer({ min: 1, max: 30 }).map((host) => `10.32.0.${host}`),
)
const scripts: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: fc.record({ kind: fc.constant('ask' as const), who, pod, wanted }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('free' as const, 'give up' as const), who, pod }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('cut' as const, 'deafen' as const, 'heal' as const), who }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('pass' as const), time: fc.constantFrom(0, 100, 1_000, 5_000) }) },
  ),
  { maxLength: 40, size: 'max' },
)

interface Call {
  readonly asker: Asker
  readonly who: number
  readonly pod: number
  readonly wanted: string
}

function isAsWanted({ asker, wanted: text }: Call): boolean {
  const address = asker.told() ?? ''
  const [base = '', length] = text.split('/')
  if (!address.startsWith('10.') || text === '') return true
  if (length === undefined) return address === base
  const [host, first] = [address, base].map((dotted) => Number(dotted.split('.')[3]))
  return host !== undefined && first !== undefined && host >= first && host < first + 2 ** (32 - Number(length))
}

/** Three peers, what they were asked, and the calls that wait. */
class Scene {
  readonly group: IpamGroup = new IpamGroup('10.32.0.0/27')
  readonly ipams: readonly Ipam[] = WHO.map((letter) => this.group.join(letter, 'seed=a,b,c').ipam)
  readonly calls: Call[] = []

  async play(step: Step): Promise<void> {
    switch (step.kind) {
      case 'ask':
        this.calls.push({ ...step, asker: ask(this.#ipam(step.who), step.pod, step.wanted) })
        return
      case 'free':
        await this.#ipam(step.who).free(key(step.pod))
        return
      case 'give up':
        for (const call of this.calls) if (call.who === step.who && call.pod === step.pod) call.asker.giveUp()
        return
      case 'cut':
        this.group.gone.add(nameOf(step.who))
        return
      case 'deafen':
        this.group.deaf.add(nameOf(step.who))
        return
      case 'heal':
        this.group.gone.delete(nameOf(step.who))
        this.group.deaf.delete(nameOf(step.who))
        this.group.gossip()
        return
      default:
        await this.group.pass(millis(step.time))
    }
  }

  #ipam(index: number): Ipam {
    return this.ipams[index] ?? expect.fail()
  }
}

function nameOf(index: number): PeerName {
  return peer(WHO[index] ?? '')
}

async function play(steps: readonly Step[]): Promise<void> {
  const scene = new Scene()
  for (const step of steps) {
    await scene.play(step)
    const given = scene.ipams.flatMap((one) => [...one.allocations().values()].map(formatIpv4))
    expect(new Set(given).size).toBe(given.length)
  }
  await scene.group.pass(seconds(10))
  for (const call of scene.calls) expect([call, call.asker.told() !== undefined, isAsWanted(call)]).toEqual([call, true, true])
  expect(scene.ipams.flatMap((one) => one.status().pending)).toEqual([])
}

test('whatever is asked for, freed, given up, cut off and healed: nobody waits for more than ten seconds, gets another address than was wanted, or one twice', async () => {
  await fc.assert(fc.asyncProperty(scripts, play), { seed: 1, numRuns: 150 })
})
