/** The account of addresses of a real cluster: it adds up whatever is killed, and what does not is found, named and freed. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type TestLab, testLab } from '../../support/lab.ts'

const LONG_MS = 120_000

const checkSchema = z.object({
  ok: z.boolean(),
  addresses: z.number(),
  allocated: z.number(),
  living: z.number(),
  findings: z.array(z.string()),
  peers: z.array(z.object({ nickname: z.string(), state: z.string(), ring: z.string(), ranges: z.array(z.string()) })),
})
const gcSchema = z.object({ dryRun: z.boolean(), freed: z.array(z.object({ attachment: z.string(), address: z.string() })) })

describe('a cluster of three hosts', () => {
  let stack: AsyncDisposableStack
  let lab: TestLab

  beforeAll(async () => {
    stack = new AsyncDisposableStack()
    lab = stack.use(await testLab())
    await lab.json('up')
  }, LONG_MS)
  afterAll(async () => await stack.disposeAsync())

  const weft = (host: string, ...words: readonly string[]) => lab.run('exec', host, '--', 'weft', 'ipam', ...words)

  async function check(host: string) {
    const { status, stdout } = await weft(host, 'check', '--json')
    return { status, report: checkSchema.parse(JSON.parse(stdout)) }
  }

  async function expectProved(allocated: number): Promise<void> {
    for (const host of ['a', 'b', 'c']) {
      const { status, report } = await check(host)
      expect({ host, status, findings: report.findings }).toEqual({ host, status: 0, findings: [] })
      expect(report).toMatchObject({ ok: true, addresses: 1_048_576, allocated, living: allocated })
      expect(report.peers.map(({ ring, state }) => `${ring} ${state}`)).toEqual(['same alive', 'same alive', 'same alive'])
    }
  }

  /** Removes the host's end of a pod's link, by hand. @returns the attachment that it was of. */
  async function planted(host: string): Promise<string> {
    const { stdout } = await lab.run('exec', host, '--', 'ip', '-o', 'link')
    const [, link = '', attachment = ''] = /(wpod\w+)@.*attachment=(\S+) /.exec(stdout) ?? []
    expect((await lab.run('exec', host, '--', 'ip', 'link', 'delete', link)).status).toBe(0)
    return attachment
  }

  test('has an account that adds up, and says so', async () => {
    await expectProved(9)
    const { status, stdout } = await weft('b', 'check')
    expect([status, stdout]).toEqual([
      0,
      expect.stringMatching(
        /^each of the 1048576 addresses of 10\.32\.0\.0\/12 has one owner, and each of the 9 .*; 3 peers have the same ring\n$/,
      ),
    ])
  })

  test('also after pods have come and gone while routers were killed', { timeout: LONG_MS }, async () => {
    for (const [round, host] of ['a', 'b', 'c', 'b'].entries()) {
      const name = `churn${round}`
      const churning = Promise.all([lab.run('pod add', host, name), lab.run('pod add', 'a', `extra${round}`)])
      await lab.json('kill', host)
      await churning
      await lab.json('start', host)
    }
    const { pods } = z.object({ pods: z.array(z.object({ name: z.string() })) }).parse(await lab.json('status'))
    for (const { name } of pods) if (/^churn|^extra[01]/.test(name)) await lab.json('pod del', name)
    const left = pods.filter(({ name }) => !/^churn|^extra[01]/.test(name)).length
    await expectProved(left + 3)
  })

  test('an address whose pod is gone is found and named on every host, and freed where it is', async () => {
    const attachment = await planted('c')
    const finding = new RegExp(`\\(c\\): (10\\.\\S+) is allocated to ${attachment}, which does not exist$`)
    const seen = await check('a')
    expect([seen.status, seen.report.findings]).toEqual([1, [expect.stringMatching(finding)]])
    const address = finding.exec(seen.report.findings[0] ?? '')?.[1] ?? ''
    expect(await weft('a', 'check')).toMatchObject({ status: 1, stdout: expect.stringContaining('1 finding; ') })
    const dry = gcSchema.parse(JSON.parse((await weft('c', 'gc', '--dry-run', '--json')).stdout))
    expect(dry).toEqual({ dryRun: true, freed: [{ attachment, address }] })
    expect((await weft('a', 'gc')).stdout).toBe('')
    expect((await weft('c', 'gc')).stdout).toBe(`freed ${address} of ${attachment}\n`)
    expect((await check('a')).status).toBe(0)
  })

  test('an address whose pod went while the router was down is freed by the router when it starts', async () => {
    await lab.json('kill', 'b')
    await planted('b')
    const before = (await check('a')).report.allocated
    await lab.json('start', 'b')
    const { status, report } = await check('a')
    expect([status, report.findings]).toEqual([0, []])
    expect(report.allocated).toBeGreaterThanOrEqual(before)
  })

  test('a peer that does not answer is named, with the ranges that it owns', async () => {
    await lab.json('kill', 'b')
    const { status, report } = await check('a')
    const ranges = report.peers.find(({ nickname }) => nickname === 'b')?.ranges.join(', ')
    expect([status, report.findings]).toEqual([1, [expect.stringMatching(/\(b\): (is dead|does not answer), and owns /)]])
    expect(report.findings[0]).toContain(ranges)
    await lab.json('start', 'b')
    expect((await check('a')).status).toBe(0)
  })
})
