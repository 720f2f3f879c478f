/** The network between hosts, of both kinds, with real packets: whole, cut in every way, healed, narrowed and impaired. */
import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../../mesh/base/clock.ts'
import { setCables } from '../../../router/lab/cables.ts'
import { namespacesOf } from '../../../router/lab/cleanup.ts'
import type { Cut, CutKind } from '../../../router/lab/cuts.ts'
import type { Impairment } from '../../../router/lab/impairment.ts'
import { applyImpairment, impairmentsOf } from '../../../router/lab/middlebox.ts'
import { hostName, namespaceOf, UNDERLAYS } from '../../../router/lab/names.ts'
import { processesIn } from '../../../router/lab/processes.ts'
import type { LabState } from '../../../router/lab/state.ts'
import { applyCuts } from '../../../router/lab/underlay.ts'
import { transfer } from '../../support/flows.ts'
import { makeScene, type Scene } from '../../support/underlay.ts'

const [a, b, c] = [hostName(0), hostName(1), hostName(2)]
const MTU_BYTES = 1_600
const MESH = 6_783
const VXLAN = 6_784
const LONG_MS = 60_000

describe.each(UNDERLAYS)('%s', (underlay) => {
  let scene: Scene
  let stack: AsyncDisposableStack

  beforeAll(async () => {
    stack = new AsyncDisposableStack()
    scene = stack.use(await makeScene(underlay, [MTU_BYTES, MTU_BYTES, MTU_BYTES]))
  })
  afterAll(async () => await stack.disposeAsync())

  test('every host reaches every other one, with packets as big as the lab was told, and not bigger', async () => {
    for (const [from, to] of [
      [a, b],
      [b, c],
      [c, a],
    ] as const) {
      const sizes = [undefined, MTU_BYTES, MTU_BYTES + 1]
      expect(await Promise.all(sizes.map((bytes) => scene.pings(from, to, bytes)))).toEqual([true, true, false])
    }
  })

  test('nothing but the network, the hosts and their cables was made', async () => {
    const { name } = scene.lab
    expect((await namespacesOf(name)).toSorted()).toEqual([a, b, c, 'net'].map((member) => `weft-${name}-${member}`).toSorted())
  })

  test('hosts are neighbours on one switch, and are not where there is a router', () => {
    const route = execFileSync('ip', ['-n', namespaceOf(scene.lab.name, a), 'route', 'get', scene.lab.hosts[1]?.address ?? ''], {
      encoding: 'utf8',
    })
    expect(route.includes(' via 198.18.1.254 ')).toBe(underlay === 'routed')
  })

  describe('cuts', () => {
    const both = (what: CutKind): readonly Cut[] => [
      { from: a, to: b, what },
      { from: b, to: a, what },
    ]
    /** What passes from a to b: ping, UDP of the mesh's port and of another one, TCP of these. */
    const passing = async (): Promise<readonly boolean[]> => [
      await scene.pings(a, b),
      await scene.arrives(a, b, VXLAN),
      await scene.arrives(a, b),
      await scene.connects(a, b, MESH),
      await scene.connects(a, b),
    ]

    test('between two hosts nothing passes; the third reaches both; healing brings all back', async () => {
      await applyCuts(scene.lab, both('all'))
      expect(await passing()).toEqual([false, false, false, false, false])
      expect([await scene.pings(b, a), await scene.pings(a, c), await scene.pings(c, b)]).toEqual([false, true, true])
      await applyCuts(scene.lab, [])
      await expect.poll(() => scene.pings(a, b), { timeout: 10_000 }).toBe(true)
    })

    test.each([
      ['icmp', [false, true, true, true, true]],
      ['udp', [true, false, false, true, true]],
      ['tcp', [true, true, true, false, false]],
      ['vxlan', [true, false, true, true, true]],
      ['mesh', [true, true, true, false, true]],
      ['port 6784', [true, false, true, true, true]],
      ['port 6783', [true, true, true, false, true]],
      ['wireguard', [true, true, true, true, true]],
    ] as const)('of %s alone', async (what, expected) => {
      await applyCuts(scene.lab, both(what))
      expect(await passing()).toEqual(expected)
      expect(await scene.arrives(a, c, VXLAN)).toBe(true)
      await applyCuts(scene.lab, [])
      expect(await passing()).toEqual([true, true, true, true, true])
    })

    test('one way: the other direction still arrives', async () => {
      await applyCuts(scene.lab, [{ from: a, to: b, what: 'vxlan' }])
      expect([await scene.arrives(a, b, VXLAN), await scene.arrives(b, a, VXLAN)]).toEqual([false, true])
      await applyCuts(scene.lab, [])
    })

    test('what belongs to a connection is cut at either end of it', async () => {
      // The answers of a server on the mesh's port come from there.
      await applyCuts(scene.lab, [{ from: b, to: a, what: 'mesh' }])
      expect([await scene.connects(a, b, MESH), await scene.connects(a, b)]).toEqual([false, true])
      await applyCuts(scene.lab, [])
    })
  })

  describe('sizes', () => {
    const resized = (mtuBytes: number, farMtuBytes: number): LabState => ({
      ...scene.lab,
      hosts: scene.lab.hosts.map((host) => (host.name === b ? { ...host, mtuBytes, farMtuBytes } : host)),
    })

    test.each([1_400, 9_000])('a cable of %i bytes carries these, and all others what they did', async (bytes) => {
      await setCables(resized(bytes, bytes))
      const least = Math.min(bytes, MTU_BYTES)
      const sizes = [least, least + 20]
      // 20 more: a veth lets four bytes more than its MTU pass, for a VLAN tag.
      expect(await Promise.all(sizes.map((size) => scene.pings(a, b, size)))).toEqual([true, false])
      expect(await Promise.all(sizes.map((size) => scene.pings(b, a, size)))).toEqual([true, false])
      expect(await scene.pings(a, c, MTU_BYTES)).toBe(true)
      await setCables(scene.lab)
    })

    test('a host that is not told hears it from a router, and from a switch hears nothing', async () => {
      await setCables(resized(MTU_BYTES, 1_300))
      for (const [from, to] of [
        [a, b],
        [b, a],
      ] as const) {
        expect(await scene.largest(from, to, MTU_BYTES)).toEqual(
          underlay === 'routed' ? { ok: true, value: 1_300 } : { ok: false, error: 'no reply in 2 s' },
        )
        expect(await scene.pings(from, to, 1_300)).toBe(true)
      }
      expect(await scene.largest(a, c, MTU_BYTES)).toEqual({ ok: true, value: MTU_BYTES })
      await setCables(scene.lab)
      expect(await scene.largest(a, b, MTU_BYTES)).toEqual({ ok: true, value: MTU_BYTES })
    })
  })

  describe('a bad cable', { timeout: LONG_MS }, () => {
    const ports = { clock: systemClock, signal: new AbortController().signal }
    const wanted: Impairment = { host: b, lossPpm: 0, duplicatePpm: 0, reorderPpm: 0, delayUs: 0, rateKbit: 0, seed: 1 }

    async function impair(impairments: readonly Impairment[]): Promise<LabState> {
      const lab: LabState = { ...scene.lab, impairments }
      const host = lab.hosts.find(({ name }) => name === b)
      if (host === undefined) throw new Error('it has three hosts')
      await applyImpairment(lab, host, ports)
      return lab
    }
    const devices = (): string => execFileSync('ip', ['-n', `weft-${scene.lab.name}-net`, '-br', 'link'], { encoding: 'utf8' })
    const boxes = async (): Promise<number> => (await processesIn([`weft-${scene.lab.name}-net`])).length

    test('delays both ways; others are as before; mended, nothing of it is left', async () => {
      const before = devices()
      await impair([{ ...wanted, delayUs: 30_000 }])
      const started = performance.now()
      expect(await scene.pings(a, b, MTU_BYTES)).toBe(true)
      expect(performance.now() - started).toBeGreaterThanOrEqual(60)
      expect([await scene.pings(a, c, MTU_BYTES), await scene.pings(a, b, MTU_BYTES + 1), await boxes()]).toEqual([true, false, 1])
      await impair([])
      expect([await scene.pings(a, b, MTU_BYTES), await boxes()]).toEqual([true, 0])
      expect(devices().replace(/^drain .*\n/m, '')).toBe(before)
    })

    test('a second call takes the place of the first', async () => {
      await impair([{ ...wanted, lossPpm: 1_000_000 }])
      expect(await scene.pings(a, b)).toBe(false)
      const lab = await impair([wanted])
      // The other end may have given up asking for the hardware address meanwhile, and asks again in a second.
      await expect.poll(() => scene.pings(a, b), { timeout: 10_000 }).toBe(true)
      expect(await boxes()).toBe(1)
      expect(await impairmentsOf(lab)).toMatchObject([{ running: true, counters: { fromHost: { lost: 0 }, toHost: { lost: 0 } } }])
      await impair([])
    })

    test('is cut, and narrowed, as any other', async () => {
      const lab = await impair([wanted])
      await applyCuts(lab, [{ from: a, to: b, what: 'udp' }])
      expect([await scene.arrives(a, b), await scene.arrives(b, a), await scene.pings(a, b)]).toEqual([false, true, true])
      await applyCuts(lab, [])
      await setCables({
        ...lab,
        hosts: lab.hosts.map((host) => (host.name === b ? { ...host, mtuBytes: 1_400, farMtuBytes: 1_400 } : host)),
      })
      expect([await scene.pings(a, b, 1_400), await scene.pings(a, b, 1_420)]).toEqual([true, false])
      await setCables(lab)
      await impair([])
    })

    test('20 MB of TCP arrive as they were sent', async () => {
      const lab = await impair([{ ...wanted, lossPpm: 10_000, duplicatePpm: 5_000, reorderPpm: 5_000 }])
      const { sent, received } = await transfer(scene.netns(a), { netns: scene.netns(b), address: scene.address(b) }, 20_000_000)
      expect(received).toBe(sent)
      const [status] = await impairmentsOf(lab)
      expect(status?.counters?.toHost.received).toBeGreaterThan(20_000_000 / MTU_BYTES)
      await impair([])
    })
  })
})
