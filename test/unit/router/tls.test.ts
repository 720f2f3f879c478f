/** The file of `--tls-ca`. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { afterAll, expect, test } from 'vitest'
import { readAuthorities } from '../../../router/tls.ts'

const directory = await mkdtemp(join(tmpdir(), 'weft-tls-'))
afterAll(() => rm(directory, { recursive: true }))

test('is not needed', async () => expect(await readAuthorities(undefined)).toBeUndefined())

test('holds certificates', async () => {
  const path = join(directory, 'ca.pem')
  const text = rootCertificates.slice(0, 2).join('\n')
  await writeFile(path, text)
  expect(await readAuthorities(path)).toBe(text)
})

test('that is not there, or holds something else, is named', async () => {
  const [missing, other] = [join(directory, 'missing.pem'), join(directory, 'other.pem')]
  await writeFile(other, '-----BEGIN PRIVATE KEY-----\n')
  await expect(readAuthorities(missing)).rejects.toMatchObject({ code: 'USAGE', message: `--tls-ca: cannot read ${missing}` })
  await expect(readAuthorities(other)).rejects.toMatchObject({ code: 'USAGE', message: `--tls-ca: there is no certificate in ${other}` })
})
