/** The native module against the real kernel: sockets, messages with descriptors, readiness, and a clean end. */
import { execFile, execFileSync, spawn } from 'node:child_process'
import { closeSync, fstatSync, mkdtempSync, openSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { type Fd, type Native, native, type SystemError } from '../../../router/kernel/native.ts'
import { ownNetnsIdentity } from '../../../router/kernel/netns.ts'
import { makeNetns } from '../../support/netns.ts'
import { until } from '../../support/until.ts'

const AF_UNIX = 1
const SOCK_STREAM = 1
const SOCK_SEQPACKET = 5
const AF_NETLINK = 16
const SOCK_RAW = 3

const NOTHING = new Uint8Array(0)
const MODULE = new URL('../../../router/kernel/native.ts', import.meta.url).pathname

interface Pair extends Disposable {
  readonly near: Fd
  readonly far: Fd
}

/** `struct sockaddr_un`. */
function unixAddress(path: string): Uint8Array {
  return Buffer.concat([Uint8Array.of(AF_UNIX, 0), Buffer.from(`${path}\0`)])
}

/** Two ends of a connection over a listening unix socket. */
function connected(type: number): Pair {
  const kernel: Native = native()
  const directory = mkdtempSync(join(tmpdir(), 'weft-t'))
  const listener = kernel.socket(-1, AF_UNIX, type, 0)
  const near = kernel.socket(-1, AF_UNIX, type, 0)
  try {
    kernel.bind(listener, unixAddress(join(directory, 'socket')))
    kernel.listen(listener, 1)
    expect(kernel.accept(listener)).toBeUndefined()
    kernel.connect(near, unixAddress(join(directory, 'socket')))
    const far = kernel.accept(listener)
    if (far === undefined) throw new Error('nobody was waiting')
    return {
      near,
      far,
      [Symbol.dispose]: () => {
        for (const fd of [near, far]) if (isOpen(fd)) kernel.close(fd)
      },
    }
  } finally {
    kernel.close(listener)
    rmSync(directory, { recursive: true })
  }
}

const SEND_TWENTY = `
#include <string.h>
#include <sys/socket.h>
int main(void) {
  int descriptors[20] = {0};
  char control[CMSG_SPACE(sizeof descriptors)] = {0}, byte = 'x';
  struct iovec iov = {&byte, 1};
  struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof descriptors);
  memcpy(CMSG_DATA(header), descriptors, sizeof descriptors);
  return sendmsg(3, &message, 0) == 1 ? 0 : 1;
}`

/** What our own `send` refuses to do: a peer that sends more descriptors than we take. */
async function sendTwentyDescriptors(socket: Fd): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'weft-t'))
  try {
    const program = join(directory, 'send')
    execFileSync('cc', ['-x', 'c', '-o', program, '-'], { input: SEND_TWENTY })
    const child = spawn(program, { stdio: ['ignore', 'ignore', 'inherit', socket] })
    const status = await new Promise((resolve) => child.once('close', resolve))
    expect(status).toBe(0)
  } finally {
    rmSync(directory, { recursive: true })
  }
}

function isOpen(fd: Fd): boolean {
  return readdirSync('/proc/self/fd').includes(String(fd))
}

function failure(call: () => unknown): Partial<SystemError> {
  try {
    call()
  } catch (error) {
    return error as SystemError
  }
  throw new Error('nothing was thrown')
}

describe('sockets', () => {
  test('are close-on-exec and do not block', () => {
    const fd = native().socket(-1, AF_UNIX, SOCK_STREAM, 0)
    const flags = Number.parseInt(/flags:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '', 8)
    native().close(fd)
    expect({ nonBlocking: (flags & 0o4000) !== 0, closeOnExec: (flags & 0o2000000) !== 0 }).toEqual({
      nonBlocking: true,
      closeOnExec: true,
    })
  })

  test('options are set and read', () => {
    const SOL_SOCKET = 1
    const SO_PASSCRED = 16
    const fd = native().socket(-1, AF_UNIX, SOCK_STREAM, 0)
    native().setsockopt(fd, SOL_SOCKET, SO_PASSCRED, Uint8Array.of(1, 0, 0, 0))
    const value = native().getsockopt(fd, SOL_SOCKET, SO_PASSCRED, 4)
    native().close(fd)
    expect([...value]).toEqual([1, 0, 0, 0])
  })

  test('a failed call throws its name, number and the system call', () => {
    const { code, errno, syscall } = failure(() => native().socket(-1, 99, SOCK_STREAM, 0))
    expect({ code, errno, syscall }).toEqual({ code: 'EAFNOSUPPORT', errno: 97, syscall: 'socket' })
  })

  test.each<{ readonly name: string; readonly call: () => unknown }>([
    { name: 'no number', call: () => native().close(Number.NaN as Fd) },
    { name: 'a fraction', call: () => native().close(0.5 as Fd) },
    { name: 'a number beyond 32 bits', call: () => native().close((2 ** 32) as Fd) },
    { name: 'bytes of another width', call: () => native().bind(0 as Fd, new Uint16Array(2) as unknown as Uint8Array) },
    { name: 'more descriptors than a message takes', call: () => native().send(0 as Fd, NOTHING, NOTHING, Array<Fd>(9).fill(0 as Fd)) },
    { name: 'a callback that is none', call: () => native().watch(0 as Fd, false, 1 as unknown as () => void) },
  ])('$name never reaches a system call', ({ call }) => {
    expect(call).toThrow(TypeError)
  })
})

describe('a socket in another namespace', () => {
  test('sees that one, and our thread is back in ours', async () => {
    await using ns = await makeNetns()
    await ns.exec('ip', 'link', 'add', 'weft-there', 'type', 'bridge')
    const before = { process: ownNetnsIdentity(), thread: readlinkSync('/proc/thread-self/ns/net') }
    const fd = native().socket(ns.fd, AF_NETLINK, SOCK_RAW, 0)
    native().send(fd, getLinkNamed('weft-there'), NOTHING, [])
    const buffer = new Uint8Array(65_536)
    const answer = native().receive(fd, buffer)
    native().close(fd)
    const RTM_NEWLINK = 16
    expect(new DataView(buffer.buffer).getUint16(4, true)).toBe(RTM_NEWLINK)
    expect(answer?.bytes).toBeGreaterThan(32)
    expect({ process: ownNetnsIdentity(), thread: readlinkSync('/proc/thread-self/ns/net') }).toEqual(before)
  })

  test('is refused for a descriptor that is no namespace, and our thread stays', () => {
    const fd = openSync('/dev/null', 'r') as Fd
    const before = ownNetnsIdentity()
    const { code, syscall } = failure(() => native().socket(fd, AF_NETLINK, SOCK_RAW, 0))
    closeSync(fd)
    expect({ code, syscall, now: ownNetnsIdentity() }).toEqual({ code: 'EINVAL', syscall: 'setns', now: before })
  })

  test('a thousand of them leave no descriptor open', async () => {
    await using ns = await makeNetns()
    const before = readdirSync('/proc/self/fd').length
    for (let count = 0; count < 1_000; count++) native().close(native().socket(ns.fd, AF_NETLINK, SOCK_RAW, 0))
    expect(readdirSync('/proc/self/fd').length).toBe(before)
  })
})

describe('messages', () => {
  test('carry descriptors that mean the same file', () => {
    using pair = connected(SOCK_STREAM)
    const file = openSync('/dev/null', 'r') as Fd
    const buffer = new Uint8Array(16)
    expect(native().send(pair.near, Uint8Array.of(7), NOTHING, [file, file])).toBe(1)
    const received = native().receive(pair.far, buffer)
    const copies = received?.descriptors ?? []
    const same = copies.map((fd) => fstatSync(fd).rdev === fstatSync(file).rdev && fd !== file)
    for (const fd of [file, ...copies]) closeSync(fd)
    expect({ bytes: received?.bytes, first: buffer[0], same, truncated: received?.truncated }).toEqual({
      bytes: 1,
      first: 7,
      same: [true, true],
      truncated: false,
    })
  })

  test('more descriptors than we take are closed, not leaked', async () => {
    using pair = connected(SOCK_STREAM)
    const before = readdirSync('/proc/self/fd').length
    await sendTwentyDescriptors(pair.near)
    const received = native().receive(pair.far, new Uint8Array(1))
    expect(received?.descriptors.length).toBe(8)
    for (const fd of received?.descriptors ?? []) closeSync(fd)
    expect(readdirSync('/proc/self/fd').length).toBe(before)
  })

  test('a datagram that does not fit is said to be cut', () => {
    using pair = connected(SOCK_SEQPACKET)
    native().send(pair.near, new Uint8Array(100).fill(1), NOTHING, [])
    native().send(pair.near, new Uint8Array(10).fill(2), NOTHING, [])
    const buffer = new Uint8Array(10)
    expect(native().receive(pair.far, buffer)).toMatchObject({ bytes: 10, truncated: true })
    expect(native().receive(pair.far, buffer)).toMatchObject({ bytes: 10, truncated: false })
    expect(native().receive(pair.far, buffer)).toBeUndefined()
  })

  test('a full pipe says so instead of blocking', () => {
    using pair = connected(SOCK_STREAM)
    const chunk = new Uint8Array(65_536)
    let chunks = 0
    while (native().send(pair.near, chunk, NOTHING, []) !== undefined) chunks += 1
    expect(chunks).toBeGreaterThan(0)
  })

  test('a side that is gone is an error, not a signal', () => {
    using pair = connected(SOCK_STREAM)
    native().close(pair.far)
    expect(failure(() => native().send(pair.near, Uint8Array.of(1), NOTHING, [])).code).toBe('EPIPE')
  })
})

describe('a watch', () => {
  test('calls again as long as there is something to read', async () => {
    using pair = connected(SOCK_STREAM)
    const read: number[] = []
    const watch = native().watch(pair.far, true, (hangup) => {
      const buffer = new Uint8Array(1)
      native().receive(pair.far, buffer)
      read.push(buffer[0] ?? -1, hangup ? 1 : 0)
    })
    native().send(pair.near, Uint8Array.of(5, 6, 7), NOTHING, [])
    await until('three bytes were read', () => (read.length === 6 ? true : undefined))
    native().unwatch(watch)
    expect(read).toEqual([5, 0, 6, 0, 7, 0])
  })

  test('tells that the other side hung up', async () => {
    using pair = connected(SOCK_STREAM)
    const hangups: boolean[] = []
    const watch = native().watch(pair.far, true, (hangup) => {
      hangups.push(hangup)
      native().unwatch(watch)
    })
    native().close(pair.near)
    await until('it was told', () => (hangups.length > 0 ? true : undefined))
    expect(hangups).toEqual([true])
  })

  test('says nothing more once it is stopped, even when there was something', async () => {
    using pair = connected(SOCK_STREAM)
    using other = connected(SOCK_STREAM)
    let calls = 0
    const stopped = native().watch(pair.far, true, () => {
      calls += 1
    })
    native().send(pair.near, Uint8Array.of(1), NOTHING, [])
    native().unwatch(stopped)
    let isHeard = false
    const later = native().watch(other.far, true, () => {
      isHeard = true
      native().unwatch(later)
    })
    native().send(other.near, Uint8Array.of(1), NOTHING, [])
    await until('a later event arrived', () => isHeard || undefined)
    expect(calls).toBe(0)
  })

  test('of a descriptor that is watched already is refused', () => {
    using pair = connected(SOCK_STREAM)
    const watch = native().watch(pair.far, false, () => undefined)
    const { code } = failure(() => native().watch(pair.far, false, () => undefined))
    native().unwatch(watch)
    native().unwatch(watch)
    expect(code).toBe('EEXIST')
  })
})

const OPEN_WATCH = `
import { native } from '${MODULE}'
const fd = native().socket(-1, ${AF_UNIX}, 2, 0)
const receiver = native().socket(-1, ${AF_UNIX}, 2, 0)
const path = Uint8Array.of(${AF_UNIX}, 0, 0, ...Buffer.from('weft-t' + process.pid + '-' + Math.random()))
native().bind(receiver, path)
const flood = () => { while (native().send(fd, Uint8Array.of(1), path, []) !== undefined); }
`

/** Exit code and output of a process that runs `script`; rejects when it crashes, is killed or hangs. */
async function runNode(script: string): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { timeout: 15_000 })
  return stdout.trim()
}

describe('the end of a process', () => {
  test('does not wait for a watch that need not keep it alive', async () => {
    expect(await runNode(`${OPEN_WATCH} native().watch(receiver, false, () => {}); console.log('end')`)).toBe('end')
  })

  test('waits for one that does', async () => {
    const script = `${OPEN_WATCH}
      const watch = native().watch(receiver, true, () => { console.log('heard'); native().unwatch(watch) })
      setTimeout(flood, 50)`
    expect(await runNode(script)).toBe('heard')
  })

  test('with events still coming neither crashes nor hangs', async () => {
    const script = `${OPEN_WATCH}
      native().watch(receiver, true, () => { flood() })
      flood()
      setTimeout(() => { console.log('end'); process.exit(0) }, 50)`
    expect(await runNode(script)).toBe('end')
  })

  test('of a worker with a watch neither crashes nor hangs, and leaves other threads’ watches alone', async () => {
    const script = `${OPEN_WATCH}
      import { Worker } from 'node:worker_threads'
      let heard = 0
      native().watch(receiver, true, () => { heard += 1; native().receive(receiver, new Uint8Array(1)) })
      const work = \`Promise.all([import(\${JSON.stringify('${MODULE}')}), import('node:worker_threads')]).then(([{ native }, { parentPort }]) => {
        const fd = native().socket(-1, ${AF_UNIX}, 2, 0)
        native().watch(fd, true, () => {})
        parentPort.postMessage('watching')
      })\`
      for (let round = 0; round < 5; round++) {
        const worker = new Worker(work, { eval: true })
        await new Promise((resolve) => worker.once('message', resolve))
        await worker.terminate()
      }
      heard = 0
      flood()
      setTimeout(() => { console.log(heard > 0); process.exit(0) }, 100)`
    expect(await runNode(script)).toBe('true')
  })

  test('an exception in a callback is an uncaught one', async () => {
    const script = `${OPEN_WATCH}
      process.on('uncaughtException', (error) => { console.log(error.message); process.exit(0) })
      native().watch(receiver, true, () => { throw new Error('thrown in a watch') })
      flood()`
    expect(await runNode(script)).toBe('thrown in a watch')
  })
})

/** RTM_GETLINK by name: `struct nlmsghdr`, `struct ifinfomsg`, IFLA_IFNAME. */
function getLinkNamed(name: string): Uint8Array {
  const RTM_GETLINK = 18
  const text = Buffer.alloc(16)
  text.write(name)
  const message = Buffer.alloc(32 + 4 + text.length)
  message.writeUInt32LE(message.length, 0)
  message.writeUInt16LE(RTM_GETLINK, 4)
  message.writeUInt16LE(1, 6)
  message.writeUInt16LE(4 + text.length, 32)
  message.writeUInt16LE(3, 34)
  text.copy(message, 36)
  return message
}

test('what was freed goes back to the system', async () => {
  // One that lives at the end keeps malloc from giving back the rest by itself.
  const code = `
    const { native } = await import(${JSON.stringify(MODULE)})
    const { readFileSync } = await import('node:fs')
    const held = () => Number(/RssAnon:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1])
    let many = Array.from({ length: 1_000 }, () => new Uint8Array(100_000).fill(1))
    globalThis.last = new Uint8Array(100_000).fill(1)
    many = undefined
    gc()
    const before = held()
    native().trim()
    console.log((before - held()) / 1024)`
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', '--input-type=module', '--eval', code])
  expect(Number(stdout)).toBeGreaterThan(50)
})
