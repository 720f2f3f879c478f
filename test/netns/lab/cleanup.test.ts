/** A lab can be removed whatever state it is in, and nothing else is touched. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { labNames, namespacesOf, removeLab } from '../../../router/lab/cleanup.ts'
import { hostName, namespaceOf } from '../../../router/lab/names.ts'
import { hostPaths, labDirectory, labFile, namespacePath } from '../../../router/lab/paths.ts'
import { identify, isAlive } from '../../../router/lab/processes.ts'
import type { ProcessIdentity } from '../../../router/lab/state.ts'
import { type TestLab, testLab } from '../../support/lab.ts'

const a = hostName(0)

function addNamespace(lab: TestLab, member: string): string {
  const name = `weft-${lab.name}-${member}`
  execFileSync('ip', ['netns', 'add', name])
  return name
}

async function startIn(namespace: string | undefined): Promise<ProcessIdentity> {
  const words = [...(namespace === undefined ? [] : ['nsenter', `--net=${namespacePath(namespace)}`]), 'sleep', '1000']
  const child = spawn(words[0] ?? '', words.slice(1), { detached: true, stdio: 'ignore' })
  await once(child, 'spawn')
  child.unref()
  const identity = await identify(child.pid ?? 0)
  if (identity === undefined) throw new Error('it has just been started')
  await expect.poll(() => execFileSync('cat', [`/proc/${identity.pid}/comm`], { encoding: 'utf8' })).toBe('sleep\n')
  return identity
}

function record(lab: TestLab, identity: ProcessIdentity): void {
  mkdirSync(hostPaths(lab.name, a).directory, { recursive: true })
  writeFileSync(hostPaths(lab.name, a).router, JSON.stringify({ version: 1, identity }))
}

test('what is not there is nothing to remove', async () => {
  await using lab = await testLab()
  expect(await removeLab(lab.name)).toBe(false)
})

test('namespaces without any file, and the processes in them', async () => {
  await using lab = await testLab()
  const processes = [await startIn(addNamespace(lab, 'a')), await startIn(addNamespace(lab, 'a1')), await startIn(addNamespace(lab, 'net'))]
  expect(await removeLab(lab.name)).toBe(true)
  expect(await Promise.all(processes.map(isAlive))).toEqual([false, false, false])
  expect(await namespacesOf(lab.name)).toEqual([])
})

test.each([
  { name: 'damaged', content: '{"version": 1, "na' },
  { name: 'empty', content: '' },
  { name: 'missing', content: undefined },
])('a lab whose file is $name', async ({ content }) => {
  await using lab = await testLab()
  mkdirSync(labDirectory(lab.name), { recursive: true })
  if (content !== undefined) writeFileSync(labFile(lab.name), content)
  addNamespace(lab, 'a')
  expect(await labNames()).toContain(lab.name)
  expect(await removeLab(lab.name)).toBe(true)
  expect([existsSync(labDirectory(lab.name)), await namespacesOf(lab.name)]).toEqual([false, []])
})

test('a namespace whose making was cut short is a plain file', async () => {
  await using lab = await testLab()
  const path = namespacePath(addNamespace(lab, 'b'))
  execFileSync('umount', [path])
  expect(await removeLab(lab.name)).toBe(true)
  expect(existsSync(path)).toBe(false)
})

test('a recorded router that lives in a namespace without a name any more', async () => {
  await using lab = await testLab()
  const namespace = addNamespace(lab, 'a')
  const router = await startIn(namespace)
  record(lab, router)
  execFileSync('ip', ['netns', 'delete', namespace])
  await removeLab(lab.name)
  expect(await isAlive(router)).toBe(false)
})

test('another process that has the number of a recorded router by now is left alone', async () => {
  await using lab = await testLab()
  const other = await startIn(undefined)
  record(lab, { ...other, startTicks: other.startTicks - 1 })
  await removeLab(lab.name)
  expect(await isAlive(other)).toBe(true)
  process.kill(other.pid, 'SIGKILL')
})

test('another lab is left alone, even when its name begins the same', async () => {
  await using lab = await testLab()
  const longer = `${lab.name}x`
  const namespace = `weft-${longer}-a`
  execFileSync('ip', ['netns', 'add', namespace])
  mkdirSync(`/run/weft-lab/${longer}`, { recursive: true })
  const process = await startIn(namespace)
  try {
    addNamespace(lab, 'a')
    await removeLab(lab.name)
    expect([await isAlive(process), readdirSync('/run/netns').includes(namespace), existsSync(`/run/weft-lab/${longer}`)]).toEqual([
      true,
      true,
      true,
    ])
  } finally {
    globalThis.process.kill(process.pid, 'SIGKILL')
    execFileSync('ip', ['netns', 'delete', namespace])
    rmSync(`/run/weft-lab/${longer}`, { recursive: true })
  }
})

test('from inside the lab nothing is removed, as that would kill the one who does it', async () => {
  await using lab = await testLab()
  const path = namespacePath(addNamespace(lab, 'a'))
  const words = [`--net=${path}`, process.execPath, 'router/main.ts', 'lab', 'down', '--name', lab.name]
  expect(() => execFileSync('nsenter', words, { stdio: 'pipe' })).toThrow(/runs inside one of the namespaces/)
  expect(await namespacesOf(lab.name)).toEqual([namespaceOf(lab.name, a)])
})
