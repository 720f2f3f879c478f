/** Queued DELs as files. */
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { silentLog } from '../../../../mesh/base/log.ts'
import { type AttachmentKey, parseAttachmentKey } from '../../../../plugin/environment.ts'
import { openPendingDeletes } from '../../../../router/cni/pending.ts'

let directory: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'weft-t-pending-'))
})

afterEach(() => rm(directory, { recursive: true }))

function key(containerId: string, ifname: string): AttachmentKey {
  const parsed = parseAttachmentKey(containerId, ifname)
  if (!parsed.ok) throw new Error(parsed.error.msg)
  return parsed.value
}

test.each([
  ['c0ffee@eth0', key('c0ffee', 'eth0')],
  ['a%2Eb_c-D@e%40h', key('a.b_c-D', 'e@h')],
  ['c@%C3%A9', key('c', 'é')],
  ['c@%25', key('c', '%')],
])('the file %s is the DEL of %j', async (name, expected) => {
  const pending = await openPendingDeletes(directory, silentLog)
  expect(await pending.has(expected)).toBe(false)
  await writeFile(join(directory, name), '')
  expect(await pending.list()).toEqual([expected])
  expect(await pending.has(expected)).toBe(true)
  await pending.remove(expected)
  expect(await readdir(directory)).toEqual([])
})

test('removing what is not there is fine', async () => {
  const pending = await openPendingDeletes(directory, silentLog)
  await pending.remove(key('c', 'eth0'))
  expect(await pending.list()).toEqual([])
})

test('names that no ADD can have had are dropped, files of others are left alone', async () => {
  for (const name of ['%2E%2E%2Fetc@eth0', 'c@%FF', 'c@a%3Ab', 'README', 'c@', 'c@a.b', '.c@eth0', 'c@%zz'])
    await writeFile(join(directory, name), '')
  const pending = await openPendingDeletes(directory, silentLog)
  expect(await pending.list()).toEqual([])
  expect((await readdir(directory)).sort()).toEqual(['.c@eth0', 'README', 'c@', 'c@%zz', 'c@a.b'])
})

test('the directory is made, for root only', async () => {
  const inner = join(directory, 'state', 'pending')
  const pending = await openPendingDeletes(inner, silentLog)
  expect(await pending.list()).toEqual([])
  expect((await stat(inner)).mode & 0o777).toBe(0o700)
})
