/** Which secret a router takes, and what it says when there is none. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { loadCrypto } from '../../../mesh/crypto.ts'
import { openKey } from '../../../mesh/keyring.ts'
import { createSecretFile } from '../../../mesh/secret-file.ts'
import { type Config, parseConfig } from '../../../router/config.ts'
import { loadSecrets } from '../../../router/secrets.ts'
import { keyOf, keyringOf } from '../../support/keyrings.ts'

const crypto = await loadCrypto()
let folder = ''

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weft-secrets-'))
})

afterEach(() => rm(folder, { recursive: true }))

function configOf(given: Parameters<typeof parseConfig>[0]): Config {
  return parseConfig({ stateDirectory: folder, ...given }, {})
}

test('the secret in the state directory is used when there is one', async () => {
  await createSecretFile(join(folder, 'secret'), keyringOf(1, crypto, 2)(), crypto)
  expect(await loadSecrets(configOf({}), crypto)).toEqual({
    keyring: keyringOf(1, crypto, 2)(),
    isOpen: false,
    path: join(folder, 'secret'),
  })
})

test('a file that was named is used instead', async () => {
  await createSecretFile(join(folder, 'secret'), keyringOf(1, crypto)(), crypto)
  await createSecretFile(join(folder, 'named'), keyringOf(3, crypto)(), crypto)
  const { keyring } = await loadSecrets(configOf({ secretFile: join(folder, 'named') }), crypto)
  expect(keyring.primary).toEqual(keyOf(3, crypto))
})

test('a passphrase makes the secret', async () => {
  await writeFile(join(folder, 'words'), 'correct horse battery staple\n', { mode: 0o600 })
  const { keyring, isOpen } = await loadSecrets(configOf({ passphraseFile: join(folder, 'words') }), crypto)
  expect({ id: keyring.primary.id, isOpen }).toEqual({ id: '0cdb7ed3', isOpen: false })
})

test('an open cluster has a key that follows from its name', async () => {
  const secrets = await loadSecrets(configOf({ open: '', cluster: 'lab' }), crypto)
  expect(secrets).toEqual({ keyring: { primary: openKey('lab', crypto), other: undefined }, isOpen: true, path: undefined })
})

test('without any, nothing starts, and a person is told what to do', async () => {
  await expect(loadSecrets(configOf({}), crypto)).rejects.toMatchObject({
    code: 'USAGE',
    message: `there is no secret of the cluster in ${join(folder, 'secret')}`,
    hint: 'on the first node make one with `weft keys generate`, on others copy its file; or let anybody join with --open',
  })
})
