/** The file with the secret: made only when told to, kept private, and refused when anything in it is not right. */
import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { toHex } from '../../../mesh/base/bytes.ts'
import { loadCrypto } from '../../../mesh/crypto.ts'
import { createSecretFile, readSecretFile } from '../../../mesh/secret-file.ts'
import { keyOf, keyringOf } from '../../support/keyrings.ts'

const crypto = await loadCrypto()
let folder = ''
let path = ''

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weft-secret-'))
  path = join(folder, 'state', 'secret')
})

afterEach(() => rm(folder, { recursive: true }))

const line = (index: number) => `weft-secret-1 ${keyOf(index, crypto).id} ${toHex(keyOf(index, crypto).secret)}\n`

test.each([
  { name: 'one key', keyring: keyringOf(1, crypto)() },
  { name: 'two keys', keyring: keyringOf(1, crypto, 2)() },
])('$name: only its owner can read it, and what is read is what was written', async ({ keyring }) => {
  await createSecretFile(path, keyring, crypto)
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  expect(await readSecretFile(path, crypto)).toEqual(keyring)
  expect(await readdir(join(folder, 'state'))).toEqual(['secret'])
})

test('no file is no secret, and nothing is made', async () => {
  expect(await readSecretFile(path, crypto)).toBeUndefined()
  expect(await readdir(folder)).toEqual([])
})

test('a file that is there is never replaced', async () => {
  await createSecretFile(path, keyringOf(1, crypto)(), crypto)
  await expect(createSecretFile(path, keyringOf(2, crypto)(), crypto)).rejects.toMatchObject({ code: 'CONFLICT' })
  expect(await readFile(path, 'utf8')).toBe(line(1))
})

describe('refused', () => {
  test.each([
    { name: 'empty', text: '' },
    { name: 'cut short', text: line(1).slice(0, 60) },
    { name: 'without the end of its line', text: line(1).trimEnd() },
    { name: 'of another format', text: line(1).replace('secret-1', 'secret-2') },
    { name: 'with an id that is not of the key', text: line(1).replace(keyOf(1, crypto).id, keyOf(2, crypto).id) },
    { name: 'with the same key twice', text: line(1) + line(1) },
    { name: 'with three keys', text: line(1) + line(2) + line(3) },
    { name: 'with something after the key', text: `${line(1)}more\n` },
  ])('a file $name', async ({ text }) => {
    path = join(folder, 'secret')
    await writeFile(path, text, { mode: 0o600 })
    await expect(readSecretFile(path, crypto)).rejects.toMatchObject({
      code: 'STATE',
      message: `the secret of the cluster ${path} is damaged`,
    })
  })

  test('a file that others can read', async () => {
    await createSecretFile(path, keyringOf(1, crypto)(), crypto)
    await chmod(path, 0o644)
    await expect(readSecretFile(path, crypto)).rejects.toMatchObject({
      code: 'STATE',
      message: expect.stringContaining('is open to others (mode 0644)'),
    })
  })

  test('a symbolic link, and a folder', async () => {
    await createSecretFile(path, keyringOf(1, crypto)(), crypto)
    await symlink(path, join(folder, 'link'))
    await expect(readSecretFile(join(folder, 'link'), crypto)).rejects.toMatchObject({ code: 'STATE' })
    await expect(readSecretFile(folder, crypto)).rejects.toMatchObject({ code: 'STATE' })
  })
})
