/** The file of `--tls-ca`: whose certificates of web servers this node trusts. */
import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { WeftError } from '../mesh/base/errors.ts'

const HINT = 'name a file with certificates of authorities, as `-----BEGIN CERTIFICATE-----` begins them'

/** The certificates (PEM). @throws {WeftError} USAGE when there are none. */
export async function readAuthorities(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    throw new WeftError('USAGE', `--tls-ca: cannot read ${path}`, { cause, hint: HINT })
  }
  try {
    // Says nothing of any but the first, which is enough to tell certificates from keys and from other files.
    new X509Certificate(text)
  } catch (cause) {
    throw new WeftError('USAGE', `--tls-ca: there is no certificate in ${path}`, { cause, hint: HINT })
  }
  return text
}
