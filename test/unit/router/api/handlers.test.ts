/** The API as a function: every path, and what bad requests get. */
import { describe, expect, test } from 'vitest'
import { WeftError } from '../../../../mesh/base/errors.ts'
import type { Snapshot } from '../../../../router/api/contract.ts'
import { type ApiPorts, handleApi } from '../../../../router/api/handlers.ts'
import { emptySnapshot } from '../../../support/snapshot.ts'

function ports(snapshot: Snapshot = emptySnapshot): ApiPorts & { readonly targets: Set<string> } {
  const targets = new Set<string>(['old'])
  return {
    targets,
    snapshot: () => snapshot,
    connect(added, replace) {
      if (added.includes('bad')) throw new WeftError('USAGE', 'not a target: bad', { hint: 'write HOST or HOST:PORT' })
      if (replace) targets.clear()
      for (const target of added) targets.add(target)
    },
    forget: (removed) => removed.filter((target) => targets.delete(target)),
    resolveRings: (keep, ring) => {
      if (ring === 'cc') throw new WeftError('USAGE', 'no ring cc has been heard of lately')
      return keep === 'ours' ? 'aa' : 'bb'
    },
    keys: () => ({ primary: '1a2b3c4d', stage: 'idle', lagging: [] }),
    rotateKeys: (leaveAbsent) => {
      if (!leaveAbsent) throw new WeftError('USAGE', 'these peers cannot be reached and would stay behind: b')
      return { primary: '1a2b3c4d', other: '99887766', stage: 'accept', lagging: ['a'] }
    },
    removePeer: (peer, leaveAbsent) =>
      peer === 'b'
        ? Promise.resolve({ removed: peer, addresses: leaveAbsent ? 1 : 128 })
        : Promise.reject(new WeftError('USAGE', 'no peer is called c')),
    reset: (force) =>
      force
        ? Promise.resolve({ heir: 'b(node-b)', given: 127, kept: 1 })
        : Promise.reject(new WeftError('USAGE', '1 pod has an address', { hint: 'drain' })),
    stop: () => undefined,
  }
}

async function call(
  method: string,
  path: string,
  body = '',
  on: ApiPorts = ports(),
): Promise<{ readonly status: number; readonly body: unknown; readonly isStop: boolean }> {
  const [pathname = '', query = ''] = path.split('?')
  const response = await handleApi({ method, path: pathname, query: new Map(new URLSearchParams(query)), body }, on)
  const isStop = response.afterwards !== undefined
  return { isStop, status: response.status, body: response.contentType === 'application/json' ? JSON.parse(response.body) : response.body }
}

describe('the API', () => {
  test('answers 503 with the whole status until the router is ready, then 200', async () => {
    expect(await call('GET', '/status')).toMatchObject({ status: 503, body: emptySnapshot })
    const ready = { ...emptySnapshot, ready: true, waitingFor: [] }
    expect(await call('GET', '/status', '', ports(ready))).toMatchObject({ status: 200, body: ready })
  })

  test.each(['connections', 'peers', 'ipam', 'targets'])('has status/%s as JSON and as text', async (part) => {
    expect((await call('GET', `/status/${part}`)).status).toBe(200)
    expect((await call('GET', `/status/${part}?format=text`)).body).toBeTypeOf('string')
  })

  test('tells of the keys of the cluster, and changes them', async () => {
    expect((await call('GET', '/keys')).body).toEqual({ primary: '1a2b3c4d', stage: 'idle', lagging: [] })
    expect(await call('POST', '/keys/rotate', '{"leaveAbsent":true}')).toMatchObject({ status: 200, body: { stage: 'accept' } })
    expect(await call('POST', '/keys/rotate', '{}')).toMatchObject({
      status: 400,
      body: { error: expect.stringContaining('would stay behind') },
    })
    expect(await call('POST', '/keys/rotate', '{"leaveAbsent":1}')).toMatchObject({ status: 400 })
  })

  test('decides between rings that met', async () => {
    expect(await call('POST', '/ipam/resolve', '{"keep":"ours"}')).toMatchObject({ status: 200, body: { ring: 'aa' } })
    expect(await call('POST', '/ipam/resolve', '{"keep":"theirs","ring":"bb"}')).toMatchObject({ status: 200, body: { ring: 'bb' } })
    expect(await call('POST', '/ipam/resolve', '{"keep":"theirs","ring":"cc"}')).toMatchObject({
      status: 400,
      body: { error: expect.any(String) },
    })
    expect(await call('POST', '/ipam/resolve', '{"keep":"none"}')).toMatchObject({
      status: 400,
      body: { hint: expect.stringContaining('"ours"') },
    })
  })

  test('removes peers, and says why not', async () => {
    expect(await call('POST', '/peers/remove', '{"peer":"b"}')).toEqual({
      status: 200,
      body: { removed: 'b', addresses: 128 },
      isStop: false,
    })
    expect(await call('POST', '/peers/remove', '{"peer":"b","leaveAbsent":true}')).toMatchObject({ status: 200, body: { addresses: 1 } })
    expect(await call('POST', '/peers/remove', '{"peer":"c"}')).toEqual({
      status: 400,
      body: { error: 'no peer is called c' },
      isStop: false,
    })
    expect(await call('POST', '/peers/remove', '{}')).toMatchObject({ status: 400 })
  })

  test('leaves the cluster, and stops the router once the answer is sent; a refusal does not stop it', async () => {
    expect(await call('POST', '/reset', '{"force":true}')).toEqual({
      status: 200,
      body: { heir: 'b(node-b)', given: 127, kept: 1 },
      isStop: true,
    })
    expect(await call('POST', '/reset', '{}')).toEqual({
      status: 400,
      body: { error: '1 pod has an address', hint: 'drain' },
      isStop: false,
    })
  })

  test('connects, replaces and forgets targets', async () => {
    const on = ports()
    expect(await call('POST', '/connect', '{"peers":["a","b:7000"]}', on)).toMatchObject({
      status: 200,
      body: { connected: ['a', 'b:7000'] },
    })
    expect(await call('POST', '/forget', '{"peers":["a","never"]}', on)).toMatchObject({ status: 200, body: { forgotten: ['a'] } })
    expect([...on.targets]).toEqual(['old', 'b:7000'])
    await call('POST', '/connect', '{"peers":["c"],"replace":true}', on)
    expect([...on.targets]).toEqual(['c'])
  })

  test.each([
    { name: 'no such path', request: ['GET', '/nothing'], status: 404 },
    { name: 'a part that is not', request: ['GET', '/status/dns'], status: 404 },
    { name: 'too deep a path', request: ['GET', '/status/ipam/more'], status: 404 },
    { name: 'a method that is not', request: ['DELETE', '/status'], status: 405 },
    { name: 'a body that is not JSON', request: ['POST', '/connect', 'peers=a'], status: 400 },
    { name: 'a body of another shape', request: ['POST', '/connect', '{"peer":"a"}'], status: 400 },
    { name: 'too many targets', request: ['POST', '/connect', JSON.stringify({ peers: Array(1_001).fill('a') })], status: 400 },
    { name: 'a target that cannot be one', request: ['POST', '/connect', '{"peers":["bad"]}'], status: 400 },
  ] as const)('answers $name with $status and says why', async ({ request: [method, path, body], status }) => {
    const answer = await call(method, path, body)
    expect(answer.status).toBe(status)
    expect(answer.body).toHaveProperty('error', expect.stringMatching(/.{10}/))
  })

  test('survives a port that throws', async () => {
    const broken: ApiPorts = {
      ...ports(),
      snapshot: () => {
        throw new Error('no snapshot')
      },
    }
    expect(await call('GET', '/report', '', broken)).toMatchObject({ status: 500, body: { error: 'no snapshot' } })
  })
})
