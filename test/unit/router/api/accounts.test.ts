/** The account of addresses over the API: what each request answers, and the text of a check. */
import { describe, expect, test } from 'vitest'
import { WeftError } from '../../../../mesh/base/errors.ts'
import { type AccountPorts, handleAccounts, renderCheck } from '../../../../router/api/accounts.ts'
import type { CheckReport } from '../../../../router/api/contract.ts'

const SOUND: CheckReport = {
  ok: true,
  range: '10.32.0.0/12',
  addresses: 1_048_576,
  allocated: 5,
  living: 5,
  findings: [],
  peers: [
    { name: 'aa'.repeat(8), nickname: 'a', state: 'alive', ranges: ['10.32.0.0/13'], ring: 'same', allocated: 3, living: 3, findings: [] },
    { name: 'bb'.repeat(8), nickname: 'b', state: 'alive', ranges: ['10.40.0.0/13'], ring: 'same', allocated: 2, living: 2, findings: [] },
  ],
}
const FINDING = `${'aa'.repeat(8)}(a): 10.32.0.5 is allocated to c1/eth0, which does not exist`
const UNSOUND: CheckReport = { ...SOUND, ok: false, living: 4, findings: [FINDING] }

async function call(method: string, path: string, body = '', changes: Partial<AccountPorts> = {}) {
  const [pathname = '', query = ''] = path.split('?')
  const ports: AccountPorts = {
    check: () => Promise.resolve(SOUND),
    collect: (dryRun) => Promise.resolve({ dryRun, freed: [{ attachment: 'c1/eth0', address: '10.32.0.5' }] }),
    recover: () => ({ without: ['bb'.repeat(8)] }),
    ...changes,
  }
  const response = await handleAccounts({ method, path: pathname, query: new Map(new URLSearchParams(query)), body }, ports)
  if (response === undefined) return undefined
  return { status: response.status, body: response.contentType === 'application/json' ? JSON.parse(response.body) : response.body }
}

describe('the account of addresses', () => {
  test('is 200 when it adds up, and 409 when it does not, as JSON and as text', async () => {
    const check = { check: () => Promise.resolve(UNSOUND) }
    expect(await call('GET', '/ipam/check')).toEqual({ status: 200, body: SOUND })
    expect(await call('GET', '/ipam/check?format=text')).toEqual({ status: 200, body: renderCheck(SOUND) })
    expect(await call('GET', '/ipam/check', '', check)).toEqual({ status: 409, body: UNSOUND })
    expect(await call('GET', '/ipam/check?format=text', '', check)).toEqual({ status: 409, body: renderCheck(UNSOUND) })
  })

  test('says what was proved, or what was found', () => {
    expect(renderCheck(SOUND)).toBe(
      'each of the 1048576 addresses of 10.32.0.0/12 has one owner, and each of the 5 allocated ones belongs to an attachment that exists; 2 peers have the same ring\n',
    )
    expect(renderCheck(UNSOUND)).toBe(`${FINDING}\n1 finding; 5 addresses allocated, 4 attachments exist, 2 of 2 peers heard\n`)
  })

  test('frees leaks, or only names them', async () => {
    const freed = [{ attachment: 'c1/eth0', address: '10.32.0.5' }]
    expect(await call('POST', '/ipam/gc', '{}')).toEqual({ status: 200, body: { dryRun: false, freed } })
    expect(await call('POST', '/ipam/gc', '{"dryRun":true}')).toEqual({ status: 200, body: { dryRun: true, freed } })
    expect(await call('POST', '/ipam/gc', '{"dry":true}')).toMatchObject({ status: 400, body: { hint: expect.stringContaining('dryRun') } })
    expect(await call('POST', '/ipam/recover')).toEqual({ status: 200, body: { without: ['bb'.repeat(8)] } })
  })

  test('answers 500 with the reason when the kernel refuses, and leaves other requests to others', async () => {
    const collect = () => Promise.reject(new WeftError('KERNEL', 'ip link show: EPERM'))
    expect(await call('POST', '/ipam/gc', '{}', { collect })).toEqual({ status: 500, body: { error: 'ip link show: EPERM' } })
    expect([await call('GET', '/ipam/gc'), await call('GET', '/status')]).toEqual([undefined, undefined])
  })
})
