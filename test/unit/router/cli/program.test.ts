/** The command line as people meet it: help everywhere, errors that say what to do, exit codes. */
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { WeftError } from '../../../../mesh/base/errors.ts'
import { handleApi } from '../../../../router/api/handlers.ts'
import { runCli } from '../../../../router/cli/program.ts'
import { emptySnapshot } from '../../../support/snapshot.ts'

interface Outcome {
  readonly code: number
  readonly out: string
  readonly err: string
}

async function weft(words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Outcome> {
  const said = { code: 0, out: '', err: '' }
  await runCli(words, {
    out: (text) => {
      said.out += text
    },
    err: (text) => {
      said.err += text
    },
    exitWith: (code) => {
      said.code = code
    },
    env,
    node: { path: process.execPath, flags: [], compileCache: undefined },
    signal: new AbortController().signal,
  })
  return said
}

/** The API of a router that answers as `ready` says, on a socket of its own. */
async function withRouter(ready: boolean, use: (socket: string, targets: string[]) => Promise<void>): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const directory = await mkdtemp(join(tmpdir(), 'weft-cli-'))
  stack.defer(() => rm(directory, { recursive: true }))
  const targets: string[] = []
  const rotation = [{ primary: '1a2b3c4d', other: '99887766', stage: 'promote' as const, lagging: ['a'] }]
  const ports = {
    snapshot: () => ({ ...emptySnapshot, ready, router: { ...emptySnapshot.router, targets } }),
    connect: (added: readonly string[]) => void targets.push(...added),
    forget: (removed: readonly string[]) => removed.filter((target) => targets.includes(target)),
    resolveRings: (keep: 'ours' | 'theirs', ring: string | undefined) => ring ?? (keep === 'ours' ? 'aa' : 'bb'),
    keys: () => rotation.shift() ?? { primary: '99887766', stage: 'idle' as const, lagging: [] },
    rotateKeys: (leaveAbsent: boolean) => {
      if (!leaveAbsent) throw new WeftError('USAGE', 'these peers cannot be reached and would stay behind: b', { hint: 'start them' })
      return { primary: '1a2b3c4d', stage: 'accept' as const, lagging: ['a'] }
    },
    removePeer: (peer: string, leaveAbsent: boolean) =>
      leaveAbsent
        ? Promise.resolve({ removed: peer, addresses: 128 })
        : Promise.reject(new WeftError('USAGE', 'these peers cannot be reached, and might be told the same: b', { hint: 'start them' })),
    reset: (force: boolean) => Promise.resolve({ heir: 'b(node-b)', given: 127, kept: force ? 1 : 0 }),
    stop: () => undefined,
  }
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const part of request) body += part
    const url = new URL(request.url ?? '', 'http://weft')
    const answer = await handleApi({ method: request.method ?? '', path: url.pathname, query: new Map(url.searchParams), body }, ports)
    response.writeHead(answer.status).end(answer.body)
  })
  const socket = join(directory, 'api.sock')
  await new Promise<void>((resolve) => server.listen(socket, resolve))
  stack.defer(() => new Promise<void>((resolve) => void server.close(() => resolve())))
  await use(socket, targets)
}

describe('weft', () => {
  test.each([
    { words: ['--help'], says: 'Commands:' },
    { words: ['run', '--help'], says: 'env: IPALLOC_RANGE' },
    { words: ['name', '--help'], says: '--state-dir' },
    { words: ['keys', '--help'], says: 'show-id' },
    { words: ['rmpeer', '--help'], says: '--leave-absent' },
    { words: ['reset', '--help'], says: '--force' },
    { words: ['keys', 'generate', '--help'], says: '--file' },
    { words: ['status', '--help'], says: '(choices: "connections"' },
    { words: ['report', '--help'], says: '--socket' },
    { words: ['connect', '--help'], says: '--replace' },
    { words: ['forget', '--help'], says: '<peer...>' },
    { words: ['ipam', 'resolve', '--help'], says: '--take-theirs' },
    { words: ['lab', '--help'], says: 'check' },
    { words: ['lab', 'up', '--help'], says: '--hosts' },
    { words: ['lab', 'cut', '--help'], says: '--one-way' },
    { words: ['--version'], says: '0.1.0' },
  ])('$words helps', async ({ words, says }) => {
    expect(await weft(words)).toMatchObject({ code: 0, out: expect.stringContaining(says), err: '' })
  })

  test.each([
    { words: ['statsu'], says: '(Did you mean status?)' },
    { words: ['lba'], says: '(Did you mean lab?)' },
    { words: ['status', '--jsn'], says: '(Did you mean --json?)' },
    { words: ['status', 'conections'], says: 'connections, peers, ipam, targets' },
    { words: ['lab', 'up', '--host', '3'], says: '(Did you mean --hosts?)' },
    { words: ['lab', 'up', '--hosts', 'three'], says: 'not a whole number from 1 to 64' },
    { words: ['ipam', 'resolve'], says: 'which ring is to stand?' },
    { words: ['ipam', 'resolve', '--keep-ours', '--take-theirs'], says: 'cannot be used with' },
    { words: ['connect'], says: "missing required argument 'peer'" },
    { words: ['report', 'extra'], says: 'too many arguments' },
  ])('$words is refused with what was meant', async ({ words, says }) => {
    expect(await weft(words)).toMatchObject({ code: 2, out: '', err: expect.stringContaining(says) })
  })

  test('says how to find a router where none answers', async () => {
    const { code, err } = await weft(['status'], { WEFT_SOCKET: '/nowhere/api.sock' })
    expect({ code, err }).toEqual({
      code: 1,
      err: expect.stringMatching(/^weft: no router answers on .*\n {2}hint: start one with `weft run`/),
    })
  })

  test('shows the status of a router, and by its exit code whether it is ready', async () => {
    await withRouter(true, async (socket) => {
      expect(await weft(['status', '--socket', socket])).toMatchObject({ code: 0, out: expect.stringContaining('Service: router') })
      expect(JSON.parse((await weft(['status', 'ipam', '--socket', socket, '--json'])).out)).toEqual(emptySnapshot.ipam)
      expect(JSON.parse((await weft(['report', '--socket', socket])).out)).toMatchObject({ ready: true })
    })
    await withRouter(false, async (socket) => {
      expect(await weft(['status', '--socket', socket])).toMatchObject({ code: 3, out: expect.stringContaining('waiting for a ring') })
    })
  })

  test('connects and forgets, and names what it did not know', async () => {
    await withRouter(true, async (socket, targets) => {
      expect(await weft(['connect', 'a', 'b:7000', '--socket', socket])).toEqual({ code: 0, out: '', err: '' })
      expect(targets).toEqual(['a', 'b:7000'])
      expect((await weft(['status', 'targets', '--socket', socket])).out).toBe('a\nb:7000\n')
      expect(await weft(['forget', 'a', 'zz', '--socket', socket])).toMatchObject({
        code: 2,
        err: expect.stringContaining('not among the targets: zz'),
      })
    })
  })

  test('decides between two rings, and says which one stands', async () => {
    await withRouter(true, async (socket) => {
      const resolve = (...words: readonly string[]) => weft(['ipam', 'resolve', ...words, '--socket', socket])
      expect(await resolve('--keep-ours')).toMatchObject({ code: 0, out: expect.stringMatching(/^ring aa stands; /) })
      expect(await resolve('--take-theirs', '--json')).toEqual({ code: 0, out: '{"ring":"bb"}\n', err: '' })
      expect(await resolve('--take-theirs', '--ring', 'cc', '--json')).toMatchObject({ out: '{"ring":"cc"}\n' })
    })
  })

  test('changes the secret of the cluster, and tells how far it is', async () => {
    await withRouter(true, async (socket) => {
      expect(await weft(['keys', 'rotate', '--leave-absent', '--socket', socket])).toEqual({
        code: 0,
        out: '99887766\n',
        err: 'every router learns the new key …\nevery router dials with the new key …\n',
      })
      expect(await weft(['keys', 'rotate', '--socket', socket])).toMatchObject({
        code: 1,
        err: 'weft: these peers cannot be reached and would stay behind: b\n  hint: start them\n',
      })
    })
  })

  test('removes a peer, and says why not', async () => {
    await withRouter(true, async (socket) => {
      const ask = ['rmpeer', 'b', '--socket', socket]
      expect(await weft([...ask, '--leave-absent'])).toEqual({ code: 0, out: 'b is removed: 128 addresses taken over\n', err: '' })
      expect(JSON.parse((await weft([...ask, '--leave-absent', '--json'])).out)).toEqual({ removed: 'b', addresses: 128 })
      expect(await weft(ask)).toMatchObject({
        code: 1,
        err: 'weft: these peers cannot be reached, and might be told the same: b\n  hint: start them\n',
      })
      expect((await weft(['rmpeer', '--socket', socket])).code).toBe(2)
    })
  })

  test('leaves the cluster', async () => {
    await withRouter(true, async (socket) => {
      const rest = "; 1 in use are nobody's until `weft rmpeer` there"
      expect((await weft(['reset', '--socket', socket])).out).toBe('127 addresses handed over to b(node-b); the router stops\n')
      expect((await weft(['reset', '--force', '--socket', socket])).out).toContain(`127 addresses handed over to b(node-b)${rest};`)
      expect(JSON.parse((await weft(['reset', '--json', '--socket', socket])).out)).toEqual({ heir: 'b(node-b)', given: 127, kept: 0 })
    })
  })

  test('makes the secret of a cluster once, and tells its id but never itself', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'weft-keys-'))
    try {
      const file = join(directory, 'secret')
      const made = await weft(['keys', 'generate', '--file', file])
      expect(made).toEqual({ code: 0, out: expect.stringMatching(/^[0-9a-f]{8}\n$/), err: '' })
      expect(await weft(['keys', 'show-id', '--file', file])).toEqual(made)
      const shown = await weft(['keys', 'show-id', '--file', file, '--json'])
      expect(JSON.parse(shown.out)).toEqual({ file, ids: [made.out.trim()] })
      expect(await weft(['keys', 'generate', '--file', file])).toMatchObject({ code: 1, out: '', err: expect.stringContaining('already') })
      expect(await weft(['keys', 'show-id', '--file', join(directory, 'none')])).toMatchObject({ code: 2, out: '' })
    } finally {
      await rm(directory, { recursive: true })
    }
  })

  test('refuses a wrong option of the router before it touches anything', async () => {
    expect(await weft(['run', '--mtu', '12'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('--mtu: not a whole number from 576 to 65535'),
    })
  })
})
