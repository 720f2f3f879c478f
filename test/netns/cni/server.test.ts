/** The router's end of the relay's socket: who may use it, how long, and what becomes of it. */
import { spawnSync } from 'node:child_process'
import { chmod, stat } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { describe, expect, test } from 'vitest'
import { millis } from '../../../mesh/base/brand.ts'
import { type Clock, systemClock } from '../../../mesh/base/clock.ts'
import { type LogFields, type Logger, silentLog } from '../../../mesh/base/log.ts'
import type { CniRequest } from '../../../plugin/relay.ts'
import type { CniHandler } from '../../../router/cni/connection.ts'
import { CniServer } from '../../../router/cni/server.ts'
import { openDescriptors } from '../../support/descriptors.ts'
import { makeRelayDirectory, netConf, type RelayDirectory, runRelay, runtimeEnv } from '../../support/relay.ts'
import { TestClock } from '../../support/test-clock.ts'

function serve(
  directory: RelayDirectory,
  handler: CniHandler,
  { clock = systemClock, log = silentLog }: { clock?: Clock; log?: Logger } = {},
) {
  return CniServer.start({ path: directory.socketPath, handler, clock, log })
}

const echo: CniHandler = (request) => Promise.resolve({ exitCode: 0, stdout: JSON.stringify(request) })

/** A client that is not our relay: sends `bytes`, and gives what comes back until the server closes. */
function talk(path: string, bytes: string, then: 'wait' | 'hang up' = 'wait'): Promise<string> {
  return new Promise((resolve, reject) => {
    const answer: Buffer[] = []
    const socket = connect(path, () => {
      if (bytes !== '') socket.write(bytes)
      if (then === 'hang up') socket.destroy()
    })
    socket.on('data', (chunk: Buffer) => answer.push(chunk))
    socket.once('error', reject)
    socket.once('close', () => resolve(Buffer.concat(answer).toString()))
  })
}

function connected(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => resolve(socket)).once('error', reject)
  })
}

describe('what is no relay', () => {
  test.each([
    ['no JSON', 'hello\n', 'not JSON'],
    ['the wrong JSON', '{"env":{}}\n', 'stdin'],
    ['two lines', '{}\n{}', 'it is longer than a line'],
    ['too much', 'x'.repeat(2 * 1024 * 1024 + 1), 'it is longer than 2097152 bytes'],
  ])('%s is answered with an error', async (_, bytes, reason) => {
    await using directory = await makeRelayDirectory()
    await using _server = await serve(directory, echo)
    const answer = await talk(directory.socketPath, bytes)
    const [header, json] = answer.split('\n')
    expect([header?.split(' ')[0], JSON.parse(json ?? '')]).toMatchObject(['1', { code: 999, msg: expect.stringContaining(reason) }])
  })

  test('half a request is given up when its sender goes, and silence after 5 s', async () => {
    await using directory = await makeRelayDirectory()
    const clock = new TestClock()
    await using _server = await serve(directory, echo, { clock })
    const before = await openDescriptors()
    expect(await talk(directory.socketPath, '{"env"', 'hang up')).toBe('')
    await expect.poll(openDescriptors).toEqual(before)
    const silent = talk(directory.socketPath, '')
    await expect.poll(async () => (await openDescriptors()).length).toBeGreaterThan(before.length + 1)
    clock.advance(millis(5_000))
    expect(await silent).toContain('no whole request within 5000 ms')
    await expect.poll(openDescriptors).toEqual(before)
  })

  test('more connections than the limit wait, and are served when others go', async () => {
    await using directory = await makeRelayDirectory()
    await using _server = await serve(directory, echo)
    const idle = await Promise.all(Array.from({ length: 256 }, () => connected(directory.socketPath)))
    const env = runtimeEnv(directory, 'STATUS')
    const refused = await runRelay({ env: { ...env, WEFT_CNI_DEADLINE_MS: '300' }, stdin: netConf() })
    expect(JSON.parse(refused.stdout).msg).toMatch('it did not answer within 300 ms')
    for (const socket of idle) socket.destroy()
    expect((await runRelay({ env, stdin: netConf() })).exitCode).toBe(0)
  })

  test('anybody but root is refused', async () => {
    await using directory = await makeRelayDirectory()
    const warnings: LogFields[] = []
    const log: Logger = { ...silentLog, warn: (fields) => warnings.push(fields) }
    await using _server = await serve(directory, echo, { log })
    await chmod(directory.socketPath, 0o666)
    await chmod(dirname(directory.socketPath), 0o755)
    const run = await runRelay({ env: runtimeEnv(directory, 'STATUS'), stdin: netConf(), uid: 65_534 })
    expect([JSON.parse(run.stdout).code, warnings]).toEqual([11, [{ reason: 'user 65534 is not root' }]])
  })
})

describe('the socket', () => {
  test('is for root only, and goes with the server', async () => {
    await using directory = await makeRelayDirectory()
    const server = await serve(directory, echo)
    expect((await stat(directory.socketPath)).mode & 0o777).toBe(0o600)
    await server[Symbol.asyncDispose]()
    await expect(stat(directory.socketPath)).rejects.toThrow('ENOENT')
  })

  test('of a router that lives is not taken', async () => {
    await using directory = await makeRelayDirectory()
    await using _server = await serve(directory, echo)
    await expect(serve(directory, echo)).rejects.toMatchObject({ code: 'CONFLICT' })
    expect((await runRelay({ env: runtimeEnv(directory, 'STATUS'), stdin: netConf() })).exitCode).toBe(0)
  })

  test('of a router that died is replaced', async () => {
    await using directory = await makeRelayDirectory()
    const script = `require('node:net').createServer().listen(${JSON.stringify(directory.socketPath)}, () => process.kill(process.pid, 'SIGKILL'))`
    spawnSync(process.execPath, ['-e', script])
    expect((await stat(directory.socketPath)).isSocket()).toBe(true)
    await using _server = await serve(directory, echo)
    expect((await runRelay({ env: runtimeEnv(directory, 'STATUS'), stdin: netConf() })).exitCode).toBe(0)
  })

  test('an answer longer than its buffer arrives whole', async () => {
    await using directory = await makeRelayDirectory()
    const stdout = 'x'.repeat(3 * 1024 * 1024)
    await using _server = await serve(directory, () => Promise.resolve({ exitCode: 0, stdout }))
    const run = await runRelay({ env: runtimeEnv(directory, 'STATUS'), stdin: netConf() })
    expect([run.exitCode, run.stdout === stdout]).toEqual([0, true])
  })

  test('closing waits for the request under way, and refuses further ones', async () => {
    await using directory = await makeRelayDirectory()
    const { promise, resolve } = Promise.withResolvers<void>()
    const seen: CniRequest[] = []
    const server = await serve(directory, async (request) => {
      seen.push(request)
      await promise
      return { exitCode: 0, stdout: 'done' }
    })
    const running = runRelay({ env: runtimeEnv(directory, 'STATUS'), stdin: netConf() })
    await expect.poll(() => seen.length).toBe(1)
    const closed = server[Symbol.asyncDispose]()
    expect(JSON.parse((await runRelay({ env: runtimeEnv(directory, 'STATUS'), stdin: netConf() })).stdout).code).toBe(11)
    resolve()
    expect((await running).stdout).toBe('done')
    await closed
  })
})
