/** What the relay hands on arrives at the router: environment, stdin, and descriptors of a real namespace. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { systemClock } from '../../../mesh/base/clock.ts'
import { silentLog } from '../../../mesh/base/log.ts'
import type { CniRequest } from '../../../plugin/relay.ts'
import type { CniHandler } from '../../../router/cni/connection.ts'
import { CniServer } from '../../../router/cni/server.ts'
import { listLinks } from '../../../router/kernel/link.ts'
import { Netlink } from '../../../router/kernel/netlink.ts'
import { netnsIdentity } from '../../../router/kernel/netns.ts'
import { makeNetns } from '../../support/netns.ts'
import { makeRelayDirectory, netConf, type RelayDirectory, runRelay, runtimeEnv } from '../../support/relay.ts'

function serve(directory: RelayDirectory, handler: CniHandler): Promise<CniServer> {
  return CniServer.start({ path: directory.socketPath, handler, clock: systemClock, log: silentLog })
}

const echo: CniHandler = (request) => Promise.resolve({ exitCode: 0, stdout: JSON.stringify(request) })

describe('what arrives', () => {
  test('is the environment and stdin to the byte', async () => {
    await using directory = await makeRelayDirectory()
    await using _server = await serve(directory, echo)
    const stdin = `{"a": "\\u0000 \\"\\\\ \t\r\n\u0001\u001f\u007f é € 😀 ${'x'.repeat(200_000)}"}\n`
    const args = 'A="b\\";\n\t\u0001é'
    const { exitCode, stdout } = await runRelay({
      env: { ...directory.env, CNI_COMMAND: 'GC', CNI_ARGS: args, CNI_NETNS: '', OTHER: 'x' },
      stdin,
    })
    expect([exitCode, JSON.parse(stdout)]).toEqual([
      0,
      { env: { CNI_COMMAND: 'GC', CNI_ARGS: args, CNI_NETNS: '' }, stdin, netns: { kind: 'absent' } },
    ])
  })

  test.each([
    ['a lone continuation', [0x80], '\ufffd'],
    ['a cut character', [0xe2, 0x82, 0x22], '\ufffd\ufffd"'],
    ['an overlong slash', [0xc0, 0xaf], '\ufffd\ufffd'],
    ['an overlong 3-byte form', [0xe0, 0x80, 0xaf], '\ufffd\ufffd\ufffd'],
    ['a surrogate', [0xed, 0xa0, 0x80], '\ufffd\ufffd\ufffd'],
    ['an overlong 4-byte form', [0xf0, 0x80, 0x80, 0xaf], '\ufffd\ufffd\ufffd\ufffd'],
    ['beyond the last character', [0xf4, 0x90, 0x80, 0x80], '\ufffd\ufffd\ufffd\ufffd'],
    ['the last character', [0xf4, 0x8f, 0xbf, 0xbf], '\u{10ffff}'],
    ['0xff', [0xff, 0x41], '\ufffdA'],
    ['a zero', [0x00, 0x41], '\u0000A'],
  ])('%s is replaced where it is not UTF-8', async (_, bytes, expected) => {
    await using directory = await makeRelayDirectory()
    await using _server = await serve(directory, echo)
    const { stdout } = await runRelay({ env: runtimeEnv(directory, 'GC'), stdin: Uint8Array.from(bytes) })
    expect(JSON.parse(stdout).stdin).toBe(expected)
  })

  test('any text comes through', async () => {
    await using directory = await makeRelayDirectory()
    await using _server = await serve(directory, echo)
    const text = fc.string({ unit: 'binary', maxLength: 300 })
    const property = fc.asyncProperty(text, async (stdin) => {
      const { stdout } = await runRelay({ env: runtimeEnv(directory, 'GC'), stdin })
      expect(JSON.parse(stdout).stdin).toBe(stdin)
    })
    await fc.assert(property, { seed: 1, numRuns: 40 })
  })

  test('is whole at the limit of stdin', async () => {
    await using directory = await makeRelayDirectory()
    await using _server = await serve(directory, ({ stdin }) => Promise.resolve({ exitCode: 0, stdout: String(stdin.length) }))
    expect(await runRelay({ env: runtimeEnv(directory, 'ADD'), stdin: ' '.repeat(1024 * 1024) })).toMatchObject({
      exitCode: 0,
      stdout: '1048576',
    })
  })

  test('does not depend on a hostile environment or directory', async () => {
    await using directory = await makeRelayDirectory()
    await using _server = await serve(directory, echo)
    const hostile = {
      PATH: '',
      HOME: '/nowhere',
      LD_PRELOAD: '/nowhere.so',
      NODE_OPTIONS: '--require /nowhere.js',
      MALLOC_CHECK_: '3',
      LANG: 'xx',
      IFS: 'x',
    }
    const many = Object.fromEntries(Array.from({ length: 5_000 }, (__, index) => [`CNI_X${index}`, 'x'.repeat(100)]))
    const { exitCode, stdout } = await runRelay({
      env: { ...many, ...hostile, ...runtimeEnv(directory, 'STATUS') },
      stdin: netConf(),
      cwd: '/proc',
    })
    expect([exitCode, Object.keys(JSON.parse(stdout).env)]).toEqual([
      0,
      ['CNI_COMMAND', 'CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME', 'CNI_PATH'],
    ])
  })
})

/** Answers with the names of the links that the passed netlink socket lists, and which namespace came. */
const inspect: CniHandler = async ({ netns }: CniRequest) => {
  if (netns.kind !== 'passed') return { exitCode: 1, stdout: JSON.stringify(netns) }
  using netlink = Netlink.open({ clock: systemClock, fd: netns.netns.routeSocket, lent: true })
  const links = await listLinks(netlink)
  const names = links.ok ? links.value.map(({ name }) => name) : []
  return { exitCode: 0, stdout: JSON.stringify({ names, identity: netnsIdentity(netns.netns.namespace), isOwn: netns.isOwn }) }
}

describe("the pod's namespace", () => {
  test.each(['ADD', 'CHECK'])('%s passes it, and a netlink socket that is inside', async (command) => {
    await using directory = await makeRelayDirectory()
    await using pod = await makeNetns()
    await pod.exec('ip', 'link', 'add', 'inside0', 'type', 'veth', 'peer', 'name', 'inside1')
    await using _server = await serve(directory, inspect)
    const { exitCode, stdout } = await runRelay({ env: runtimeEnv(directory, command, pod.path), stdin: netConf() })
    expect([exitCode, JSON.parse(stdout)]).toEqual([
      0,
      { names: ['lo', 'inside1', 'inside0'], identity: netnsIdentity(pod.fd), isOwn: false },
    ])
  })

  test.each(['DEL', 'GC', 'STATUS'])('%s does not', async (command) => {
    await using directory = await makeRelayDirectory()
    await using pod = await makeNetns()
    await using _server = await serve(directory, inspect)
    const { stdout } = await runRelay({ env: runtimeEnv(directory, command, pod.path), stdin: netConf() })
    expect(JSON.parse(stdout)).toEqual({ kind: 'absent' })
  })

  test('the own one of the runtime is told apart', async () => {
    await using directory = await makeRelayDirectory()
    await using _server = await serve(directory, inspect)
    const { stdout } = await runRelay({ env: runtimeEnv(directory, 'ADD', '/proc/self/ns/net'), stdin: netConf() })
    expect(JSON.parse(stdout).isOwn).toBe(true)
  })

  test.each([
    ['/run/netns/weft-t-nowhere', 'No such file or directory'],
    ['/etc/passwd', 'not a network namespace'],
    ['/proc/self/ns/mnt', 'not a network namespace'],
    ['/proc', 'not a network namespace'],
  ])('%s is none: %s', async (path, reason) => {
    await using directory = await makeRelayDirectory()
    await using _server = await serve(directory, inspect)
    const { stdout } = await runRelay({ env: runtimeEnv(directory, 'ADD', path), stdin: netConf() })
    expect(JSON.parse(stdout)).toEqual({ kind: 'failed', reason })
  })
})
