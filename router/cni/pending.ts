/**
 * DELs that the relay could not hand to a router and left on disk (`plugin/shim/queue.h` writes them): empty files
 * named CONTAINERID@IFNAME, every byte but letters, digits, - and _ as %XX.
 */
import { statSync } from 'node:fs'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from '../../mesh/base/log.ts'
import { type AttachmentKey, parseAttachmentKey } from '../../plugin/environment.ts'

export interface PendingDeletes {
  list(): Promise<readonly AttachmentKey[]>
  has(key: AttachmentKey): Promise<boolean>
  /** One that is not there is a success. */
  remove(key: AttachmentKey): Promise<void>
}

const ENCODED = '(?:[A-Za-z0-9_-]|%[0-9A-F]{2})+'
const FILE_NAME = new RegExp(`^(${ENCODED})@(${ENCODED})$`)

/** Makes `directory` when it is not there. It should survive a reboot: the addresses that wait for these DELs do. */
export async function openPendingDeletes(directory: string, log: Logger): Promise<PendingDeletes> {
  await mkdir(directory, { recursive: true, mode: 0o700 })

  async function list(): Promise<readonly AttachmentKey[]> {
    const keys: AttachmentKey[] = []
    for (const name of await readdir(directory)) {
      const entry = decodeName(name)
      if (entry.kind === 'key') keys.push(entry.key)
      if (entry.kind === 'impossible') await discard(name)
    }
    return keys
  }

  /** No ADD of such a name can have succeeded: there is nothing to undo. */
  async function discard(name: string): Promise<void> {
    await rm(join(directory, name), { force: true })
    log.warn({ path: join(directory, name) }, 'queued DEL of an impossible name dropped')
  }

  return {
    list,
    has: (key) => Promise.try(exists, join(directory, encodeName(key))),
    async remove(key) {
      const path = join(directory, encodeName(key))
      if (exists(path)) await rm(path, { force: true })
    },
  }
}

/** Asked with every ADD and DEL, and nearly always for nothing: the call itself takes far less than to wait for it elsewhere. */
function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined
}

type Entry = { readonly kind: 'key'; readonly key: AttachmentKey } | { readonly kind: 'impossible' } | { readonly kind: 'foreign' }

function decodeName(name: string): Entry {
  const [, containerId, ifname] = FILE_NAME.exec(name) ?? []
  if (containerId === undefined || ifname === undefined) return { kind: 'foreign' }
  const key = parseAttachmentKey(decode(containerId), decode(ifname))
  return key.ok ? { kind: 'key', key: key.value } : { kind: 'impossible' }
}

/** Bytes that are not UTF-8 become U+FFFD, which no valid name has. */
function decode(encoded: string): string {
  return Buffer.from(
    encoded.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  ).toString()
}

function encodeName({ containerId, ifname }: AttachmentKey): string {
  return `${encode(containerId)}@${encode(ifname)}`
}

function encode(text: string): string {
  return Buffer.from(text)
    .toString('latin1')
    .replace(/[^A-Za-z0-9_-]/g, encodeByte)
}

/** @param character of Latin 1, which stands for the byte of that number. */
function encodeByte(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`
}
