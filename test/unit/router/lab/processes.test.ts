/** Telling processes apart by their start. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { identify, isAlive, killProcesses, parseStat } from '../../../../router/lab/processes.ts'

/** Fields 3 to 22 of /proc/PID/stat, with the state and the start. */
function stat(name: string, state: string, start: string): string {
  return `7 (${name}) ${state} ${Array.from({ length: 18 }, (_, index) => index + 100).join(' ')} ${start} 0 0`
}

describe('/proc/PID/stat', () => {
  test.each(['node', 'a b', ') S 1 (', '((('])('the name %j does not confuse it', (name) => {
    expect(parseStat(7, stat(name, 'S', '4242'))).toEqual({ pid: 7, startTicks: 4_242 })
  })
  test.each([
    { name: 'a zombie', text: stat('node', 'Z', '1') },
    { name: 'a dead one', text: stat('node', 'X', '1') },
    { name: 'something cut short', text: '7 (node) S 1' },
    { name: 'nothing', text: '' },
  ])('$name is no live process', ({ text }) => expect(parseStat(7, text)).toBeUndefined())
})

test('a process is killed by what it is, not by its number', async () => {
  const child = spawn('sleep', ['60'])
  await once(child, 'spawn')
  const identity = await identify(child.pid ?? 0)
  if (identity === undefined) throw new Error('it has just been started')
  const earlier = { ...identity, startTicks: identity.startTicks - 1 }
  await killProcesses([earlier])
  expect([await isAlive(identity), await isAlive(earlier)]).toEqual([true, false])
  await killProcesses([identity])
  expect(await isAlive(identity)).toBe(false)
  await killProcesses([identity])
})
