/** Taking a new name, step by step: whatever interrupts it, the next start goes on with it. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { attachmentKey } from '../../../ipam/attachment.ts'
import { silentLog } from '../../../mesh/base/log.ts'
import { loadCrypto } from '../../../mesh/crypto.ts'
import { giveUpName, loadName, type Named } from '../../../router/former-name.ts'

const crypto = await loadCrypto()
const AT = new Date('2026-11-24T12:00:00.000Z')
const POD = attachmentKey('c1', 'eth0')
let folder = ''

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weft-former-'))
  await mkdir(join(folder, 'ipam'))
  await writeFile(journal(), 'addresses')
})

afterEach(() => rm(folder, { recursive: true }))

function journal(): string {
  return join(folder, 'ipam', 'ipam.journal')
}

function load(): Promise<Named> {
  return loadName(folder, crypto, silentLog)
}

async function giveUp(): Promise<Named> {
  const named = await load()
  await giveUpName(folder, { name: named.identity.name, reason: 'a copy', at: AT, pods: [POD] }, crypto)
  return named
}

test('a node keeps its name from start to start, and its journal', async () => {
  const first = await load()
  expect(first.former).toBeUndefined()
  expect(await load()).toEqual(first)
  expect(await readdir(join(folder, 'ipam'))).toEqual(['ipam.journal'])
})

test('a name that was given up is replaced at the next start, once, and the journal set aside', async () => {
  const { identity } = await giveUp()
  const next = await load()
  expect(next.identity.name).not.toBe(identity.name)
  expect(next.former).toEqual({ name: identity.name, reason: 'a copy', at: AT.toISOString(), pods: [POD], successor: next.identity.name })
  expect(await readFile(`${journal()}.of-${identity.name}`, 'utf8')).toBe('addresses')
  await writeFile(journal(), 'new addresses')
  expect(await load()).toEqual(next)
  expect((await readdir(join(folder, 'ipam'))).filter((name) => name !== 'ipam.lock')).toEqual([
    'ipam.journal',
    `ipam.journal.of-${identity.name}`,
  ])
})

test('a start that was killed before the key was replaced is done again', async () => {
  const { identity } = await giveUp()
  await rm(journal())
  const next = await load()
  expect([next.identity.name === identity.name, next.former?.successor]).toEqual([false, next.identity.name])
})

test('a start that was killed after the key was replaced does not replace it again', async () => {
  const { identity } = await giveUp()
  await load()
  const after = await load()
  const path = join(folder, 'former-name.json')
  const { successor: _, ...unfinished } = JSON.parse(await readFile(path, 'utf8'))
  await writeFile(path, JSON.stringify(unfinished))
  await writeFile(journal(), 'new addresses')
  expect(await load()).toEqual(after)
  expect(after.former?.name).toBe(identity.name)
  expect(await readFile(journal(), 'utf8')).toBe('new addresses')
})

test('an identity that a person has put here since is left alone', async () => {
  const before = await giveUp()
  const old = await readFile(join(folder, 'identity.key'), 'utf8')
  await load()
  await writeFile(join(folder, 'identity.key'), old)
  expect(await load()).toEqual({ identity: before.identity, former: undefined })
})

test('of a copy of a copy the note is about the last name', async () => {
  await giveUp()
  const second = await giveUp()
  const third = await load()
  expect([third.former?.name, third.former?.successor]).toEqual([second.identity.name, third.identity.name])
})

test.each(['{', '{"format":"weft-former-name-1","name":"x","reason":"","at":"now"}', ''])(
  'a note that is damaged is an error for a person: %s',
  async (text) => {
    await writeFile(join(folder, 'former-name.json'), text)
    await expect(load()).rejects.toMatchObject({ code: 'STATE', hint: expect.stringContaining('remove it') })
    expect(await readdir(folder)).not.toContain('identity.key')
  },
)
