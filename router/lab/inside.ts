/** Netlink inside the namespaces of a lab, whose answers are what we want or the end of the command. */
import { closeSync } from 'node:fs'
import type { Clock } from '../../mesh/base/clock.ts'
import { assert, type Result } from '../../mesh/base/result.ts'
import type { Link } from '../kernel/codec/link.ts'
import { type KernelError, toWeftError } from '../kernel/kernel-error.ts'
import { getLink } from '../kernel/link.ts'
import type { Fd } from '../kernel/native.ts'
import { Netlink } from '../kernel/netlink.ts'
import { openNetns } from '../kernel/netns.ts'
import { namespacePath } from './paths.ts'

export async function within<T>(namespace: string, clock: Clock, work: (netlink: Netlink) => Promise<T>): Promise<T> {
  using netns = openNamespace(namespace)
  using netlink = Netlink.open({ clock, netns: netns.fd })
  return await work(netlink)
}

export function openNamespace(namespace: string): Disposable & { readonly fd: Fd } {
  const fd = openNetns(namespacePath(namespace))
  return { fd, [Symbol.dispose]: () => closeSync(fd) }
}

/** One that was made before: its not being there is our own fault. */
export async function linkNamed(netlink: Netlink, name: string): Promise<Link> {
  const link = must(await getLink(netlink, name))
  assert(link !== undefined, `the link ${name} was made a moment ago`)
  return link
}

/** @throws {WeftError} KERNEL. */
export function must<T>(result: Result<T, KernelError>): T {
  if (result.ok) return result.value
  throw toWeftError(result.error)
}
