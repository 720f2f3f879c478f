/** Two commands never change a lab at the same time, and no lock outlives its holder. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { millis } from '../../../mesh/base/brand.ts'
import { LabLock } from '../../../router/lab/lock.ts'
import { parseLabName } from '../../../router/lab/names.ts'

const lab = parseLabName(`t${process.pid}l0`)
const never = new AbortController().signal

test('the second waits for the first, and the third for the second', async () => {
  const order: string[] = []
  const first = await LabLock.take(lab, never)
  const others = ['second', 'third'].map(async (name) => {
    await using _lock = await LabLock.take(lab, never)
    order.push(`${name} in`)
    await new Promise(setImmediate)
    order.push(`${name} out`)
  })
  order.push('first out')
  await first[Symbol.asyncDispose]()
  await Promise.all(others)
  expect(order[0]).toBe('first out')
  expect([order.slice(1, 3), order.slice(3, 5)].map(([inside, out]) => [inside, out])).toContainEqual(['second in', 'second out'])
  expect(order.slice(1).map((entry) => entry.split(' ')[1])).toEqual(['in', 'out', 'in', 'out'])
})

test('labs of different names do not wait for each other', async () => {
  await using _one = await LabLock.take(lab, never)
  await using _other = await LabLock.take(parseLabName(`${lab}x`), never)
})

test('who waits too long is told so', async () => {
  await using _lock = await LabLock.take(lab, never)
  await expect(LabLock.take(lab, never, millis(50))).rejects.toMatchObject({ code: 'CONFLICT' })
})

test('who waits can be cancelled', async () => {
  await using _lock = await LabLock.take(lab, never)
  const controller = new AbortController()
  const waiting = LabLock.take(lab, controller.signal)
  controller.abort()
  await expect(waiting).rejects.toMatchObject({ code: 'CANCELLED' })
})

test('a holder that is killed holds it no longer', async () => {
  const modules = ['lock', 'names'].map((name) => fileURLToPath(new URL(`../../../router/lab/${name}.ts`, import.meta.url)))
  const script = `
    const [{ LabLock }, { parseLabName }] = await Promise.all(${JSON.stringify(modules)}.map((path) => import(path)))
    await LabLock.take(parseLabName('${lab}'), new AbortController().signal)
    console.log('taken')`
  const holder = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(holder.stdout, 'data')
  const waiting = LabLock.take(lab, never)
  holder.kill('SIGKILL')
  await using _lock = await waiting
})
