/** Passphrases: strong ones make a key, the same on every node; weak ones none. */
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { loadCrypto } from '../../../mesh/crypto.ts'
import { readPassphraseFile } from '../../../mesh/passphrase.ts'

const crypto = await loadCrypto()
let folder = ''
let path = ''

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weft-passphrase-'))
  path = join(folder, 'passphrase')
})

afterEach(() => rm(folder, { recursive: true }))

async function keyOf(text: string, cluster = 'weft'): Promise<string> {
  await writeFile(path, text, { mode: 0o600 })
  return (await readPassphraseFile(path, cluster, crypto)).id
}

test('one passphrase makes one key per cluster, however its line ends', async () => {
  const id = await keyOf('correct horse battery staple')
  // Other nodes must come to the same key: what makes it must never change.
  expect(id).toBe('0cdb7ed3')
  expect(await keyOf('correct horse battery staple\n')).toBe(id)
  expect(await keyOf('correct horse battery staple\r\n')).toBe(id)
  expect(await keyOf('correct horse battery staple', 'other')).not.toBe(id)
  expect(await keyOf('correct horse battery stable')).not.toBe(id)
})

test.each([
  { name: 'nothing', text: '\n', message: 'too easy to guess' },
  { name: 'fifteen characters', text: 'abcdefghijklmno', message: 'too easy to guess' },
  { name: 'seven different characters', text: 'abcdefgabcdefgabcdefg', message: 'too easy to guess' },
  { name: 'two lines', text: 'correct horse battery\nstaple\n', message: 'has more than one line' },
])('$name is refused', async ({ text, message }) => {
  await expect(keyOf(text)).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining(message) })
})

test('no file, and a file that others can read, are refused', async () => {
  await expect(readPassphraseFile(path, 'weft', crypto)).rejects.toMatchObject({ code: 'USAGE' })
  await writeFile(path, 'correct horse battery staple', { mode: 0o600 })
  await chmod(path, 0o640)
  await expect(readPassphraseFile(path, 'weft', crypto)).rejects.toMatchObject({ code: 'STATE' })
})
