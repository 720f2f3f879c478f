/** The identity file: made once, kept private, never silently replaced. */
import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { loadCrypto } from '../../../mesh/crypto.ts'
import { loadOrCreateIdentity, replaceIdentity } from '../../../mesh/identity-file.ts'

const crypto = await loadCrypto()
let folder = ''
let path = ''

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weft-identity-'))
  path = join(folder, 'state', 'identity')
})

afterEach(() => rm(folder, { recursive: true }))

test('the first start makes an identity that only its owner can read, and the next has the same', async () => {
  const identity = await loadOrCreateIdentity(path, crypto)
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  expect(await loadOrCreateIdentity(path, crypto)).toEqual(identity)
  expect(await readdir(join(folder, 'state'))).toEqual(['identity'])
})

test('processes that start together agree on one identity', async () => {
  const identities = await Promise.all(Array.from({ length: 8 }, () => loadOrCreateIdentity(path, crypto)))
  expect(new Set(identities.map(({ name }) => name)).size).toBe(1)
  expect(await readdir(join(folder, 'state'))).toEqual(['identity'])
})

test('two folders have two identities', async () => {
  const one = await loadOrCreateIdentity(path, crypto)
  expect((await loadOrCreateIdentity(join(folder, 'other'), crypto)).name).not.toBe(one.name)
})

test('another identity takes the place of the first in one step, and is as private', async () => {
  const first = await loadOrCreateIdentity(path, crypto)
  const second = await replaceIdentity(path, crypto)
  expect(second.name).not.toBe(first.name)
  expect(await loadOrCreateIdentity(path, crypto)).toEqual(second)
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  expect(await readdir(join(folder, 'state'))).toEqual(['identity'])
})

describe('is an error, and the file stays as it is', () => {
  beforeEach(async () => {
    await loadOrCreateIdentity(path, crypto)
  })

  test.each([
    { name: 'cut short', damage: () => truncate(path, 50), message: 'damaged' },
    { name: 'empty', damage: () => truncate(path, 0), message: 'damaged' },
    { name: 'longer', damage: () => writeFile(path, 'more', { flag: 'a' }), message: 'damaged' },
    {
      name: 'one digit other',
      damage: async () =>
        writeFile(
          path,
          (await readFile(path, 'utf8')).replace(/.\n$/, (last) => (last === '0\n' ? '1\n' : '0\n')),
        ),
      message: 'damaged',
    },
    { name: 'open to the group', damage: () => chmod(path, 0o640), message: 'open to others (mode 0640)' },
    { name: 'open to all', damage: () => chmod(path, 0o604), message: 'open to others (mode 0604)' },
  ])('$name', async ({ damage, message }) => {
    const before = await readFile(path, 'utf8')
    await damage()
    const damaged = await readFile(path, 'utf8')
    await expect(loadOrCreateIdentity(path, crypto)).rejects.toMatchObject({ code: 'STATE', message: expect.stringContaining(message) })
    expect(await readFile(path, 'utf8')).toBe(damaged)
    expect(damaged === before).toBe(message !== 'damaged')
  })
})

test('a symbolic link, a folder and a folder that cannot be made are errors', async () => {
  await symlink('/dev/zero', join(folder, 'link'))
  await writeFile(join(folder, 'file'), '')
  await expect(loadOrCreateIdentity(join(folder, 'link'), crypto)).rejects.toMatchObject({ code: 'STATE' })
  await expect(loadOrCreateIdentity(folder, crypto)).rejects.toMatchObject({ code: 'STATE' })
  await expect(loadOrCreateIdentity(join(folder, 'file', 'identity'), crypto)).rejects.toMatchObject({ code: 'STATE' })
})
