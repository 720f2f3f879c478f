/**
 * Taking a new name, because the state directory is a copy of another router's, or the name was removed from the cluster:
 * the identity is replaced, and the journal of addresses and the vote are set aside, as all that they tell of belongs to
 * another one now. A note of it comes first and stays: whatever happens in between, the next start finds what is still to
 * be done, and `weft status` can say why the name has changed.
 */
import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { type AttachmentKey, parseAttachmentKey } from '../ipam/attachment.ts'
import { setStateAside } from '../ipam/disk.ts'
import { retirementText } from '../ipam/takeover.ts'
import { isPeerName, type PeerName } from '../mesh/base/brand.ts'
import { errnoCode, WeftError } from '../mesh/base/errors.ts'
import { formatIp, type Ip } from '../mesh/base/ip.ts'
import type { Logger } from '../mesh/base/log.ts'
import type { CryptoSuite } from '../mesh/crypto.ts'
import type { Identity } from '../mesh/identity.ts'
import { loadOrCreateIdentity, replaceIdentity } from '../mesh/identity-file.ts'
import { replacePrivateFile } from '../mesh/private-file.ts'
import { formerNamePath, identityPath, ipamDirectory } from './cli/paths.ts'

export interface FormerName {
  /** The name that another router has, or that nobody may have any more. */
  readonly name: PeerName
  /** Why it was given up: one line, for people. */
  readonly reason: string
  /** When, as ISO 8601. */
  readonly at: string
  /** Pods that had addresses of the old name: these are another's, and are not taken up again although the pods run on. */
  readonly pods: readonly AttachmentKey[]
  /** The name that was taken instead; undefined until all is done. */
  readonly successor?: PeerName | undefined
}

/** Why a name is given up. */
export interface Renaming {
  /** For `weft status`. */
  readonly reason: string
  /** For the log: what this node is or has. */
  readonly words: string
}

/** Our identity is that of the router at `address`. */
export function copied(address: Ip): Renaming {
  return {
    reason: `the state directory is a copy of that of the router at ${formatIp(address)}, which keeps the name`,
    words: 'this node has the identity of another one',
  }
}

/** `self` was retired, by `by`. */
export function removed(self: PeerName, by: PeerName): Renaming {
  return {
    reason: retirementText(self, by),
    words: by === self ? 'this node has left the cluster and joins again' : 'this node was removed from the cluster',
  }
}

const nameSchema = z.string().refine(isPeerName, 'not a peer name')
const schema = z.object({
  format: z.literal('weft-former-name-1'),
  name: nameSchema,
  reason: z.string(),
  at: z.iso.datetime(),
  pods: z.array(z.string().transform(parseAttachmentKey)).default([]),
  successor: nameSchema.optional(),
})

export interface Named {
  readonly identity: Identity
  /** What this node was called before, if it gave that up. */
  readonly former: FormerName | undefined
}

/**
 * The identity of this node; made if there is none, and replaced if it is to be given up.
 * @throws {WeftError} STATE when a file is damaged, or cannot be read or written.
 */
export async function loadName(stateDirectory: string, crypto: CryptoSuite, log: Logger): Promise<Named> {
  const path = identityPath(stateDirectory)
  const former = await readFormerName(stateDirectory)
  const identity = await loadOrCreateIdentity(path, crypto)
  if (former === undefined) return { identity, former }
  // A later name than the one of the note: somebody has put another identity here since.
  if (former.successor !== undefined) return { identity, former: former.successor === identity.name ? former : undefined }
  const aside = identity.name === former.name ? setStateAside(ipamDirectory(stateDirectory), `of-${former.name}`) : []
  const successor = identity.name === former.name ? await replaceIdentity(path, crypto) : identity
  const done = { ...former, successor: successor.name }
  await writeFormerName(stateDirectory, done, crypto)
  log.warn(
    { peer: successor.name, ...(aside.length > 0 && { path: aside.join(', ') }), reason: former.reason },
    'this node has taken a new name',
  )
  return { identity: successor, former: done }
}

/**
 * Notes that `name` is to be given up: the next `loadName` does it.
 * @throws {WeftError} STATE when it cannot be written.
 */
export function giveUpName(
  stateDirectory: string,
  note: Omit<FormerName, 'at' | 'successor'> & { readonly at: Date },
  crypto: CryptoSuite,
): Promise<void> {
  return writeFormerName(stateDirectory, { ...note, at: note.at.toISOString() }, crypto)
}

function writeFormerName(stateDirectory: string, former: FormerName, crypto: CryptoSuite): Promise<void> {
  const text = `${JSON.stringify({ format: 'weft-former-name-1', ...former })}\n`
  return replacePrivateFile(formerNamePath(stateDirectory), text, crypto)
}

async function readFormerName(stateDirectory: string): Promise<FormerName | undefined> {
  const path = formerNamePath(stateDirectory)
  try {
    const { format: _, ...former } = schema.parse(JSON.parse(await readFile(path, 'utf8')))
    return former
  } catch (cause) {
    if (errnoCode(cause) === 'ENOENT') return undefined
    throw new WeftError('STATE', `cannot read ${path}`, { cause, hint: 'it says why this node was renamed: if it is damaged, remove it' })
  }
}
