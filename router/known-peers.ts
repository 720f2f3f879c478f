/**
 * The file of peers that were known: with it a router that starts while all others are away still has its routes to their
 * pods, and knows whom to call. The records in it are signed by their owners, so that it need not be believed; it is a cache,
 * and without it the router learns the same from its targets.
 */
import { readFile, rename, writeFile } from 'node:fs/promises'
import { z } from 'zod'
import { seconds } from '../mesh/base/brand.ts'
import type { Clock } from '../mesh/base/clock.ts'
import { describeError, errnoCode } from '../mesh/base/errors.ts'
import type { Logger } from '../mesh/base/log.ts'
import type { Mesh } from '../mesh/mesh.ts'

const schema = z.object({ format: z.literal('weft-peers-1'), records: z.array(z.base64()) })

/** Records of a whole cluster come within moments of each other. */
const WRITE_DELAY = seconds(1)

/** Empty when there is no such file, or none that can be read. */
export async function readKnownPeers(path: string, log: Logger): Promise<readonly Uint8Array[]> {
  try {
    const { records } = schema.parse(JSON.parse(await readFile(path, 'utf8')))
    return records.map((text) => Buffer.from(text, 'base64'))
  } catch (error) {
    if (errnoCode(error) !== 'ENOENT') log.warn({ path, reason: describeError(error) }, 'the file of known peers is of no use')
    return []
  }
}

/** Writes the file soon after every change, and once more when disposed. */
export function keepKnownPeers(path: string, mesh: Mesh, { clock, log }: { readonly clock: Clock; readonly log: Logger }): AsyncDisposable {
  let timer: Disposable | undefined
  let writing = Promise.resolve()
  let written = ''
  const write = async (): Promise<void> => {
    const text = JSON.stringify({ format: 'weft-peers-1', records: mesh.records().map((bytes) => Buffer.from(bytes).toString('base64')) })
    if (text === written) return
    try {
      await writeFile(`${path}.new`, text, { mode: 0o600 })
      await rename(`${path}.new`, path)
      written = text
    } catch (error) {
      log.warn({ path, reason: describeError(error) }, 'cannot write the file of known peers')
    }
  }
  const writeNow = (): void => {
    timer = undefined
    writing = writing.then(write)
  }
  const listening = mesh.onChange(() => {
    timer ??= clock.after(WRITE_DELAY, writeNow)
  })
  return {
    async [Symbol.asyncDispose]() {
      listening[Symbol.dispose]()
      timer?.[Symbol.dispose]()
      writeNow()
      await writing
    },
  }
}
