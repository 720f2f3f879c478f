/** The relay alone: what it does without a router, or with one that misbehaves. */
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { CNI_VERSIONS } from '../../../plugin/versions.ts'
import { makeRelayDirectory, type RelayDirectory, type RelayRun, runRelay } from '../../support/relay.ts'

const attachment = { CNI_CONTAINERID: 'c', CNI_IFNAME: 'eth0' }
const conf = '{"cniVersion":"0.4.0","name":"weft","type":"weft-cni"}'

function faultOf({ exitCode, stdout }: RelayRun) {
  expect([exitCode, stdout.endsWith('}\n')]).toEqual([1, true])
  return JSON.parse(stdout)
}

describe('without a router', () => {
  test('a bare call says what this is and what it speaks, on stderr', async () => {
    const { exitCode, stdout, stderr } = await runRelay({ env: {} })
    expect([exitCode, stdout]).toEqual([0, ''])
    expect(stderr).toBe(
      `weft-cni: the CNI plugin of Weft. A container runtime runs it; see CNI_COMMAND.\nCNI protocol versions supported: ${CNI_VERSIONS.join(', ')}\n`,
    )
  })

  test.each([
    ['left open', { stdin: undefined }],
    ['a configuration', { stdin: conf }],
    ['closed', { redirect: '<&-' }],
  ])('VERSION answers with a stdin that is %s', async (_, options) => {
    const { exitCode, stdout } = await runRelay({ env: { CNI_COMMAND: 'VERSION' }, ...options })
    expect([exitCode, JSON.parse(stdout)]).toEqual([0, { cniVersion: '1.1.0', supportedVersions: CNI_VERSIONS }])
  })

  test.each(['ADD', 'CHECK', 'GC', 'STATUS', 'NOPE'])('%s is to be tried again, and names the socket', async (command) => {
    await using directory = await makeRelayDirectory()
    const run = await runRelay({ env: { ...directory.env, ...attachment, CNI_COMMAND: command }, stdin: conf })
    expect(faultOf(run)).toEqual({
      cniVersion: '0.4.0',
      code: 11,
      msg: `cannot use the Weft router at ${directory.socketPath}: connect: No such file or directory`,
      details: 'is the Weft router of this node running? The runtime tries again by itself',
    })
  })

  test.each([
    ['{"cniVersion" : "1.0.0"}', '1.0.0'],
    ['{"name":"x"}', '1.1.0'],
    ['{"cniVersion":"9.9.9"}', '1.1.0'],
    ['{"cniVersion":"1.0.0', '1.1.0'],
    ['{"cniVersion"', '1.1.0'],
    ['', '1.1.0'],
  ])('the error for %j is in version %s', async (stdin, version) => {
    await using directory = await makeRelayDirectory()
    expect(faultOf(await runRelay({ env: { ...directory.env, CNI_COMMAND: 'ADD' }, stdin })).cniVersion).toBe(version)
  })

  test('a socket path that cannot be one is an error, not an overrun', async () => {
    const env = { WEFT_CNI_SOCKET: `/${'x'.repeat(3_000)}"\\\n`, CNI_COMMAND: 'ADD' }
    expect(faultOf(await runRelay({ env, stdin: conf }))).toMatchObject({ code: 11, msg: expect.stringMatching(/name too long$/i) })
  })
})

describe('stdin', () => {
  test('that cannot be read is an I/O error', async () => {
    const run = await runRelay({ env: { CNI_COMMAND: 'ADD' }, redirect: '<&-' })
    expect(faultOf(run)).toMatchObject({ code: 5, msg: 'error reading from stdin: Bad file descriptor' })
  })

  test('that nobody closes ends at the deadline', async () => {
    const run = await runRelay({ env: { CNI_COMMAND: 'ADD', WEFT_CNI_DEADLINE_MS: '100' } })
    expect(faultOf(run)).toMatchObject({ code: 5, msg: 'error reading from stdin: it was not closed in time' })
  })

  test('that is longer than 1 MiB is refused', async () => {
    const run = await runRelay({ env: { CNI_COMMAND: 'ADD' }, stdin: ' '.repeat(1024 * 1024 + 1) })
    expect(faultOf(run)).toMatchObject({ code: 5, msg: 'error reading from stdin: the network configuration is longer than 1 MiB' })
  })

  test('that becomes too long by escaping is refused', async () => {
    const run = await runRelay({ env: { CNI_COMMAND: 'ADD' }, stdin: '\u0001'.repeat(1024 * 1024) })
    expect(faultOf(run)).toMatchObject({ code: 5, msg: expect.stringContaining('longer than 2 MiB once escaped') })
  })
})

function del(directory: RelayDirectory, env: object = {}): Promise<RelayRun> {
  return runRelay({ env: { ...directory.env, ...attachment, CNI_COMMAND: 'DEL', ...env }, stdin: conf })
}

const silence = { exitCode: 0, stdout: '', stderr: '' }

describe('DEL without a router', () => {
  test('is queued once, by name, and succeeds', async () => {
    await using directory = await makeRelayDirectory()
    expect([await del(directory), await del(directory)]).toEqual([silence, silence])
    expect(await del(directory, { CNI_CONTAINERID: '../a.b', CNI_IFNAME: 'é/%' })).toEqual(silence)
    expect((await readdir(directory.pendingDirectory)).sort()).toEqual(['%2E%2E%2Fa%2Eb@%C3%A9%2F%25', 'c@eth0'])
  })

  test.each([
    ['without an interface', { CNI_IFNAME: '' }, 'connect: No such file or directory'],
    ['without a container', { CNI_CONTAINERID: '' }, 'connect: No such file or directory'],
    ['of a name too long for a file', { CNI_CONTAINERID: 'c'.repeat(252) }, 'Filename too long'],
    ['of a name far too long', { CNI_CONTAINERID: '.'.repeat(100_000) }, 'Filename too long'],
  ])('%s is an error', async (_, env, reason) => {
    await using directory = await makeRelayDirectory()
    expect(faultOf(await del(directory, env))).toMatchObject({ code: 11, msg: expect.stringContaining(reason) })
  })

  test('that cannot be queued is an error, so that the runtime repeats it', async () => {
    await using directory = await makeRelayDirectory()
    await writeFile(dirname(directory.pendingDirectory), '')
    const msg = expect.stringContaining(`and the DEL cannot be queued in ${directory.pendingDirectory}: Not a directory`)
    expect(faultOf(await del(directory))).toMatchObject({ code: 11, msg })
  })

  test('is refused when thousands are queued already', async () => {
    await using directory = await makeRelayDirectory()
    await mkdir(directory.pendingDirectory, { recursive: true })
    for (let count = 0; count < 4_096; count++) await writeFile(join(directory.pendingDirectory, `c${count}@eth0`), '')
    expect(faultOf(await del(directory))).toMatchObject({ code: 11, msg: expect.stringContaining('No space left on device') })
  })
})

/** Something that answers the socket in place of a router. Each connection is given to the next of `answers`. */
async function standIn(path: string, ...answers: ((socket: Socket) => void)[]): Promise<AsyncDisposable> {
  const sockets = new Set<Socket>()
  const server: Server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('data', () => (answers.shift() ?? (() => undefined))(socket))
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  return {
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

describe('a router that misbehaves', () => {
  const call = (directory: RelayDirectory, command: string, more: object = {}) =>
    runRelay({ env: { ...directory.env, ...attachment, CNI_COMMAND: command, ...more }, stdin: conf })

  test.each(['ADD', 'DEL'])('one that hangs ends %s at the deadline, and nothing is queued: it will do it', async (command) => {
    await using directory = await makeRelayDirectory()
    await using _ = await standIn(directory.socketPath)
    const msg = `cannot use the Weft router at ${directory.socketPath}: it did not answer within 150 ms`
    expect(faultOf(await call(directory, command, { WEFT_CNI_DEADLINE_MS: '150' }))).toMatchObject({ code: 11, msg })
    await expect(readdir(directory.pendingDirectory)).rejects.toThrow('ENOENT')
  })

  test.each([
    ['hello\n'],
    ['0 5\nabc'],
    ['0 5 \nabcde'],
    ['-1 0\n'],
    ['300 0\n'],
    ['0 -5\n'],
    ['0 4194305\nx'],
    ['0 99999999999999999999\n'],
    ['\n'],
    ['0123456789 0123456789\n'],
    [''],
  ])('the answer %j prints none of it', async (answer) => {
    await using directory = await makeRelayDirectory()
    await using _ = await standIn(directory.socketPath, (socket) => socket.end(answer))
    expect(faultOf(await call(directory, 'ADD'))).toMatchObject({ code: 11 })
  })

  test('one that dies during a DEL: it is queued', async () => {
    await using directory = await makeRelayDirectory()
    await using _ = await standIn(
      directory.socketPath,
      (socket) => socket.destroy(),
      (socket) => socket.destroy(),
    )
    expect(await call(directory, 'DEL')).toEqual(silence)
    expect(await readdir(directory.pendingDirectory)).toEqual(['c@eth0'])
  })

  test('one that comes up just then is asked, and its answer counts', async () => {
    await using directory = await makeRelayDirectory()
    await using _ = await standIn(
      directory.socketPath,
      (socket) => socket.destroy(),
      (socket) => socket.end('1 3\nno\n'),
    )
    expect(await call(directory, 'DEL')).toEqual({ exitCode: 1, stdout: 'no\n', stderr: '' })
  })

  test('an answer in pieces is put together', async () => {
    await using directory = await makeRelayDirectory()
    await using _ = await standIn(directory.socketPath, (socket) => {
      socket.setNoDelay(true)
      for (const character of '7 6\nabc\n\n\n') socket.write(character)
    })
    expect(await call(directory, 'ADD')).toEqual({ exitCode: 7, stdout: 'abc\n\n\n', stderr: '' })
  })
})

test('a closed stdout is never mistaken for the socket', async () => {
  await using directory = await makeRelayDirectory()
  const seen: string[] = []
  await using _ = await standIn(directory.socketPath, (socket) => {
    socket.on('data', (bytes) => seen.push(bytes.toString()))
    socket.write('0 6\nresult')
  })
  const run = await runRelay({ env: { ...directory.env, CNI_COMMAND: 'STATUS' }, stdin: conf, redirect: '>&- 2>&-' })
  expect([run.exitCode, seen]).toEqual([0, []])
})
