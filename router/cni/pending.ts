/**
 * DELs that the relay could not hand to a router and left on disk (`plugin/shim/queue.h` writes them): empty files
 * named CONTAINERID@IFNAME, every byte but letters, digits, - and _ as %XX.
 */
import { access, mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { errnoCode } from '../../mesh/base/errors.ts'
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
    has: (key) => exists(join(directory, encodeName(key))),
    remove: (key) => rm(join(directory, encodeName(key)), { force: true }),
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path)
    return true
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return false
    throw error
  }
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
  return [...Buffer.from(text)].map(encodeByte).join('')
}

function encodeByte(byte: number): string {
  const character = String.fromCharCode(byte)
  return /[A-Za-z0-9_-]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
}
