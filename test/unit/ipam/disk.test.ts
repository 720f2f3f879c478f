/** The journal's file and its lock, on a real file system and between real processes; and its stand-in in memory. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openDisk, openDiskWith, setStateAside, VOTE_FILE } from '../../../ipam/disk.ts'
import { seededRandom } from '../../../mesh/base/random.ts'
import { diskContract } from '../../contract/ipam-disk.ts'
import { MemoryDisk, systemError } from '../../support/memory-disk.ts'
import { SimFiles } from '../../support/sim-files.ts'

let directory = ''
let memory = new MemoryDisk()

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-t-ipam-'))
  memory = new MemoryDisk()
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

diskContract('a directory', () => openDisk(join(directory, 'state')))
diskContract('memory', () => memory.open())

test('files are for us alone, and a failed replacement leaves nothing behind', () => {
  using disk = openDisk(join(directory, 'state'))
  disk.replace(Uint8Array.of(1))
  expect(statSync(join(directory, 'state')).mode & 0o777).toBe(0o700)
  expect(statSync(disk.path).mode & 0o777).toBe(0o600)
  expect(readdirSync(join(directory, 'state')).sort()).toEqual(['ipam.journal', 'ipam.lock'])
  disk.keepDamaged(Uint8Array.of(7))
  expect(readFileSync(`${disk.path}.damaged-1`)).toEqual(Buffer.of(7))
})

test('what was read is still there after a power loss, also where the process before was killed between giving it its name and syncing that', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const files = new SimFiles(seededRandom(seed))
    const first = openDiskWith(files.open(), '/state')
    first.replace(Uint8Array.of(1))
    files.fault = (call) => {
      if (call === 'sync directory') throw systemError('EIO')
    }
    expect(() => first.replace(Uint8Array.of(2))).toThrow('EIO')
    files.end('kill')
    expect([...(openDiskWith(files.open(), '/state').read() ?? [])]).toEqual([2])
    files.end('power loss')
    expect([...(openDiskWith(files.open(), '/state').read() ?? [])]).toEqual([2])
  }
})

test('a journal and a vote are set aside whole, and new ones begin', () => {
  const state = join(directory, 'state')
  expect(setStateAside(state, 'of-x')).toEqual([])
  {
    using disk = openDisk(state)
    using vote = disk.beside(VOTE_FILE)
    disk.replace(Uint8Array.of(1, 2))
    vote.replace(Uint8Array.of(3))
    expect(() => setStateAside(state, 'of-x')).toThrow(expect.objectContaining({ code: 'STATE' }))
    expect(disk.read()).toEqual(Buffer.of(1, 2))
  }
  expect(setStateAside(state, 'of-x')).toEqual(['ipam.journal.of-x', 'ipam.vote.of-x'].map((name) => join(state, name)))
  expect(['journal', 'vote'].map((name) => readFileSync(join(state, `ipam.${name}.of-x`)))).toEqual([Buffer.of(1, 2), Buffer.of(3)])
  using disk = openDisk(state)
  using vote = disk.beside(VOTE_FILE)
  expect([disk.read(), vote.read()]).toEqual([undefined, undefined])
})

test('a state directory that is a file is refused', () => {
  const path = join(directory, 'file')
  writeFileSync(path, '')
  expect(() => openDisk(path)).toThrow(expect.objectContaining({ code: 'STATE', hint: expect.stringContaining('directory') }))
})

describe('the lock', () => {
  const OPEN = `const { openDisk } = await import(${JSON.stringify(new URL('../../../ipam/disk.ts', import.meta.url).href)});`
  const run = promisify(execFile)
  const inUse = expect.objectContaining({ code: 'STATE', message: expect.stringContaining('in use by another router') })

  test('keeps a second router of this process out, until the first one closes', () => {
    {
      using _first = openDisk(directory)
      expect(() => openDisk(directory)).toThrow(inUse)
    }
    using _second = openDisk(directory)
  })

  test('keeps another process out', async () => {
    using _first = openDisk(directory)
    const script = `${OPEN} try { openDisk(process.argv[1]); console.log('open') } catch (error) { console.log(error.code) }`
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script, directory])
    expect(stdout.trim()).toBe('STATE')
  })

  test('goes with its process, also when that is killed', async () => {
    const script = `${OPEN} globalThis.disk = openDisk(process.argv[1]); console.log('open'); setInterval(() => {}, 1000)`
    const holder = spawn(process.execPath, ['--input-type=module', '-e', script, directory], { stdio: ['ignore', 'pipe', 'inherit'] })
    try {
      await once(holder.stdout, 'data')
      expect(() => openDisk(directory)).toThrow(inUse)
    } finally {
      const closed = once(holder, 'close')
      holder.kill('SIGKILL')
      await closed
    }
    using _ours = openDisk(directory)
  })
})
