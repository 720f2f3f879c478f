/** Namespaces as descriptors. */
import { closeSync, existsSync, openSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { Fd } from '../../../router/kernel/native.ts'
import { assertNamespace, netnsIdentity, openNetns, ownNetnsIdentity } from '../../../router/kernel/netns.ts'
import { makeNetns } from '../../support/netns.ts'

function identityOf(path: string): string {
  const fd = openNetns(path)
  try {
    return netnsIdentity(fd)
  } finally {
    closeSync(fd)
  }
}

describe('the identity of a namespace', () => {
  test('is the same by every path to it', async () => {
    await using ns = await makeNetns()
    expect(identityOf(ns.path)).toBe(netnsIdentity(ns.fd))
    expect(identityOf('/proc/self/ns/net')).toBe(ownNetnsIdentity())
  })

  test('tells a pod’s from the host’s, and pods’ from each other', async () => {
    await using one = await makeNetns()
    await using two = await makeNetns()
    expect(new Set([netnsIdentity(one.fd), netnsIdentity(two.fd), ownNetnsIdentity()]).size).toBe(3)
  })
})

describe('what is no namespace', () => {
  test('a path with nothing there is missing', () => {
    expect(() => openNetns('/run/netns/weft-t-none')).toThrow(
      expect.objectContaining({ code: 'MISSING', message: 'cannot open the network namespace /run/netns/weft-t-none' }),
    )
  })

  test('a file is refused by name', () => {
    expect(() => openNetns('/dev/null')).toThrow(
      expect.objectContaining({ code: 'INPUT', message: '/dev/null is not a network namespace' }),
    )
  })

  test('a passed descriptor of something else is refused', () => {
    const fd = openSync('/dev/null', 'r') as Fd
    expect(() => assertNamespace(fd, 'the descriptor that came with the request')).toThrow(
      'the descriptor that came with the request is not a network namespace',
    )
    closeSync(fd)
  })
})

test('a namespace made for a test is gone after it', async () => {
  let path = ''
  {
    await using ns = await makeNetns()
    path = ns.path
    expect(existsSync(path)).toBe(true)
  }
  expect(existsSync(path)).toBe(false)
})
