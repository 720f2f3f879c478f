/** Tasks that must not overlap. */
import { expect, test } from 'vitest'
import { Turns } from '../../../../router/cni/turns.ts'

/** Tasks that finish when told to, and what happened in which order. */
function stage() {
  const turns = new Turns()
  const events: string[] = []
  const finish = new Map<string, () => void>()
  const task = (name: string) => async () => {
    events.push(`${name} starts`)
    await new Promise<void>((resolve) => finish.set(name, resolve))
    events.push(`${name} ends`)
    return name
  }
  const end = async (name: string) => {
    finish.get(name)?.()
    await settled()
  }
  return { turns, events, task, end }
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve))

test('tasks of one key follow each other, those of two keys overlap', async () => {
  const { turns, events, task, end } = stage()
  const results = [turns.run('a', task('a1')), turns.run('a', task('a2')), turns.run('b', task('b1'))]
  await settled()
  expect(events).toEqual(['a1 starts', 'b1 starts'])
  await end('a1')
  expect(events).toEqual(['a1 starts', 'b1 starts', 'a1 ends', 'a2 starts'])
  await end('a2')
  await end('b1')
  expect(await Promise.all(results)).toEqual(['a1', 'a2', 'b1'])
})

test('an exclusive task waits for all earlier ones, and all later ones wait for it', async () => {
  const { turns, events, task, end } = stage()
  void turns.run('a', task('a1'))
  void turns.exclusive(task('all'))
  void turns.run('b', task('b1'))
  void turns.run('a', task('a2'))
  await settled()
  expect(events).toEqual(['a1 starts'])
  await end('a1')
  expect(events.slice(1)).toEqual(['a1 ends', 'all starts'])
  await end('all')
  expect(events.slice(3)).toEqual(['all ends', 'b1 starts', 'a2 starts'])
})

test('a task that fails tells its caller, and lets the next one run', async () => {
  const turns = new Turns()
  const failed = turns.run('a', () => Promise.reject(new Error('boom')))
  const next = turns.run('a', () => Promise.resolve('next'))
  await expect(failed).rejects.toThrow('boom')
  expect(await next).toBe('next')
  await expect(turns.exclusive(() => Promise.reject(new Error('bang')))).rejects.toThrow('bang')
  expect(await turns.run('a', () => Promise.resolve('last'))).toBe('last')
})
