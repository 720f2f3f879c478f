/** Rotations of the cluster's key over real meshes and files: complete, resumable, and without losing a connection. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { seconds } from '../../../mesh/base/brand.ts'
import { systemClock } from '../../../mesh/base/clock.ts'
import { silentLog } from '../../../mesh/base/log.ts'
import { loadCrypto } from '../../../mesh/crypto.ts'
import { keyIdsOf } from '../../../mesh/keyring.ts'
import type { Mesh } from '../../../mesh/mesh.ts'
import { createSecretFile, readSecretFile } from '../../../mesh/secret-file.ts'
import { KeyRotation } from '../../../router/key-rotation.ts'
import { keyOf, keyringOf } from '../../support/keyrings.ts'
import { connectedTo, startTcpMesh, targetOf } from '../../support/tcp-mesh.ts'
import { until } from '../../support/until.ts'

const crypto = await loadCrypto()
let folder = ''
let cleanup = new AsyncDisposableStack()

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weft-rotation-'))
})

afterEach(async () => {
  await cleanup.disposeAsync()
  cleanup = new AsyncDisposableStack()
  await rm(folder, { recursive: true })
})

interface Node {
  readonly mesh: Mesh
  readonly keys: KeyRotation
  readonly path: string
}

/** @param index of its key at first. */
async function start(nickname: string, targets: readonly Mesh[], index = 1): Promise<Node> {
  const path = join(folder, `${nickname}-secret`)
  const keyring = (await readSecretFile(path, crypto)) ?? keyringOf(index, crypto)()
  await createSecretFile(path, keyring, crypto).catch(() => undefined)
  const keys = cleanup.use(new KeyRotation({ keyring, path, crypto, clock: systemClock, log: silentLog }))
  const mesh = cleanup.use(await startTcpMesh(nickname, { keyring: () => keys.keyring, targets: targets.map(targetOf) }))
  keys.attach(mesh)
  return { mesh, keys, path }
}

/** Records tell that everybody has a connection with everybody. */
function agree(meshes: readonly Mesh[]): true | undefined {
  const isWhole = meshes.every((mesh) => {
    const records = mesh.peers()
    return records.length === meshes.length && records.every(({ neighbours }) => neighbours.length === meshes.length - 1)
  })
  return isWhole && meshes.every((mesh) => connectedTo(mesh).length === meshes.length - 1) ? true : undefined
}

async function cluster(): Promise<readonly [Node, Node, Node]> {
  const a = await start('a', [])
  const [b, c] = [await start('b', [a.mesh]), await start('c', [a.mesh])]
  await until('all know each other', () => agree([a.mesh, b.mesh, c.mesh]))
  return [a, b, c]
}

const ids = ({ keys }: Node) => keyIdsOf(keys.keyring).join()

test('every router comes to have the new key alone, in its file too, and no connection ends', async () => {
  const nodes = await cluster()
  const before = nodes.map(({ mesh }) => mesh.connections().map((connection) => JSON.stringify(connection)))
  const [a, b] = nodes
  expect(b.keys.rotate(false)).toMatchObject({ primary: keyOf(1, crypto).id, stage: 'accept' })
  await until('the rotation is done', () => (b.keys.report().stage === 'idle' && a.keys.report().stage === 'idle' ? true : undefined))
  const [id] = keyIdsOf(b.keys.keyring)
  expect(id).not.toBe(keyOf(1, crypto).id)
  expect(nodes.map(ids)).toEqual([id, id, id])
  for (const { path, keys } of nodes) {
    expect(await readSecretFile(path, crypto)).toEqual(keys.keyring)
    expect((await readFile(path, 'utf8')).split('\n')).toHaveLength(2)
  }
  expect(nodes.map(({ mesh }) => mesh.connections().map((connection) => JSON.stringify(connection)))).toEqual(before)
})

test('a router that comes with the old key when it is over is refused, and told why', async () => {
  const a = await start('a', [])
  a.keys.rotate(false)
  await until('the rotation is done', () => (a.keys.report().stage === 'idle' ? true : undefined))
  const late = await start('late', [a.mesh])
  const failed = await until('late is refused', () => late.mesh.connections().find(({ state }) => state === 'failed'))
  expect(failed).toMatchObject({ reason: expect.stringContaining('has another cluster secret') })
})

test('one rotation after the other, wherever it is begun', async () => {
  const nodes = await cluster()
  for (const node of nodes.slice(0, 2)) {
    const old = ids(node)
    node.keys.rotate(false)
    // Records that change often are told of less often, so this takes its time.
    const isDone = () => (nodes.every(({ keys }) => keys.report().stage === 'idle') && ids(node) !== old ? true : undefined)
    await until('the rotation is done', isDone, seconds(25))
    expect(nodes.map(ids)).toEqual(nodes.map(() => ids(node)))
  }
  await until('all are still connected', () => agree(nodes.map(({ mesh }) => mesh)))
})

test('peers that are away hold it up, unless they may stay behind', async () => {
  const a = await start('a', [])
  {
    const gone = await startTcpMesh('gone', { targets: [targetOf(a.mesh)] })
    await until('they are connected', () => (connectedTo(a.mesh).length === 1 && a.mesh.peers().length === 2 ? true : undefined))
    await gone[Symbol.asyncDispose]()
  }
  await until('it is gone', () => (connectedTo(a.mesh).length === 0 ? true : undefined))
  await until('our record says so', () =>
    a.mesh.peers().find(({ name }) => name === a.mesh.name)?.neighbours.length === 0 ? true : undefined,
  )
  expect(() => a.keys.rotate(false)).toThrow(/would stay behind: [0-9a-f]{16}\(gone\)/)
  expect(a.keys.report().stage).toBe('idle')
  a.keys.rotate(true)
  await until('the rotation is done', () => (a.keys.report().stage === 'idle' ? true : undefined))
  expect(ids(a)).not.toBe(keyOf(1, crypto).id)
})

test('a live peer that lags holds it up and is named; meanwhile who has the old key gets in; then it goes on', async () => {
  const a = await start('a', [])
  // It knows nothing of rotations yet.
  const path = join(folder, 'stubborn-secret')
  const keys = cleanup.use(new KeyRotation({ keyring: keyringOf(1, crypto)(), path, crypto, clock: systemClock, log: silentLog }))
  const stubborn = cleanup.use(await startTcpMesh('stubborn', { keyring: () => keys.keyring, targets: [targetOf(a.mesh)] }))
  await until('they agree', () => agree([a.mesh, stubborn]))
  a.keys.rotate(false)
  await until('a has the new key', () => (ids(a).includes(',') ? true : undefined))
  const late = await start('late', [a.mesh])
  await until('late has both keys', () => (ids(late) === ids(a) ? true : undefined))
  await until('late is known', () => agree([a.mesh, stubborn, late.mesh]))
  expect(a.keys.report()).toMatchObject({ stage: 'accept', lagging: [`${stubborn.name}(stubborn)`] })
  // As when the router that began it has died: another one goes on with the same.
  expect(late.keys.rotate(false)).toMatchObject({ other: a.keys.report().other, stage: 'accept' })
  keys.attach(stubborn)
  await until('the rotation is done', () => (a.keys.report().stage === 'idle' ? true : undefined))
  expect([ids(late), keyIdsOf(keys.keyring).join()]).toEqual([ids(a), ids(a)])
})

test('keys that are not from a file cannot be changed', async () => {
  const keys = new KeyRotation({ keyring: keyringOf(1, crypto)(), path: undefined, crypto, clock: systemClock, log: silentLog })
  keys.attach(cleanup.use(await startTcpMesh('a')))
  expect(() => keys.rotate(false)).toThrow('not from a secret file')
  expect(keys.report()).toEqual({ primary: keyOf(1, crypto).id, stage: 'idle', lagging: [] })
})
