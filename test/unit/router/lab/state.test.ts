/** The lab's files: what is written can be read again, and whatever is not right is named. */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parsePeerName } from '../../../../mesh/base/brand.ts'
import { hostName, parseLabName, parsePodName } from '../../../../router/lab/names.ts'
import { type LabState, type PodRecord, readLab, readPod, readRouter, writeState } from '../../../../router/lab/state.ts'

let directory: string
let path: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'weft-state-'))
  path = join(directory, 'lab.json')
})
afterEach(async () => await rm(directory, { recursive: true }))

const lab: LabState = {
  version: 2,
  name: parseLabName('lab'),
  phase: 'ready',
  underlay: 'routed',
  hosts: [
    {
      name: hostName(0),
      address: '198.18.1.1',
      peer: parsePeerName('00112233445566aa'),
      zone: 'west',
      mtuBytes: 1_500,
      farMtuBytes: 1_400,
    },
  ],
  cuts: [
    { from: hostName(0), to: hostName(1), what: 'udp' },
    { from: hostName(0), to: hostName(1), what: 'port 53' },
  ],
  impairments: [{ host: hostName(0), lossPpm: 10_000, duplicatePpm: 0, reorderPpm: 0, delayUs: 20_000, rateKbit: 0, seed: 7 }],
}
const pod: PodRecord = { version: 1, name: parsePodName('a1'), host: hostName(0), containerId: 'weft-lab-a1-00000001' }

test('what was written is read again, and nothing else lies beside it', async () => {
  await writeState(path, { ...lab, phase: 'building' })
  await writeState(path, lab)
  expect(await readLab(path)).toEqual({ ok: true, value: lab })
  expect(await readdir(directory)).toEqual(['lab.json'])
})

test.each([
  { name: 'before its ADD', record: pod },
  { name: 'after its ADD', record: { ...pod, result: { cniVersion: '1.1.0', ips: [{ address: '10.32.0.1/32' }] }, address: '10.32.0.1' } },
])('a pod is read again $name', async ({ record }) => {
  await writeState(path, record)
  expect(await readPod(path)).toEqual({ ok: true, value: record })
})

test('a router is read again', async () => {
  const record = { version: 1, identity: { pid: 1_234, startTicks: 5_678 } } as const
  await writeState(path, record)
  expect(await readRouter(path)).toEqual({ ok: true, value: record })
})

test('a file that is not there is missing', async () => {
  expect(await readLab(path)).toEqual({ ok: false, error: { code: 'missing', detail: `there is no ${path}` } })
})

describe('a damaged file is named with what is wrong with it', () => {
  const text = JSON.stringify(lab)
  test.each([
    { name: 'empty', content: '', detail: /JSON/ },
    { name: 'cut short', content: text.slice(0, -5), detail: /JSON/ },
    { name: 'another document', content: '[]', detail: /object/ },
    { name: 'of a later version', content: JSON.stringify({ ...lab, version: 3 }), detail: /version/ },
    { name: 'with a name that is none', content: JSON.stringify({ ...lab, name: '../etc' }), detail: /not the name of a lab/ },
    {
      name: 'with a host that is none',
      content: JSON.stringify({ ...lab, hosts: [{ ...lab.hosts[0], name: 'A' }] }),
      detail: /not the name of a host/,
    },
    { name: 'with no hosts', content: JSON.stringify({ ...lab, hosts: [] }), detail: /hosts/ },
    { name: 'with an underlay that is none', content: text.replace('routed', 'l3'), detail: /underlay/ },
    { name: 'with a zone that is none', content: text.replace('west', 'we\\u0007st'), detail: /not the name of a zone/ },
    { name: 'with a cut that is none', content: text.replace('port 53', 'port 99999'), detail: /not what can be cut/ },
    { name: 'with a share beyond all', content: text.replace('10000', '1000001'), detail: /lossPpm/ },
    { name: 'with something unknown', content: JSON.stringify({ ...lab, more: true }), detail: /more/ },
    { name: 'with an address that is none', content: text.replace('198.18.1.1', '198.18.1.256'), detail: /address/ },
  ])('$name', async ({ content, detail }) => {
    await writeFile(path, content)
    const read = await readLab(path)
    expect(read).toEqual({ ok: false, error: { code: 'damaged', detail: expect.stringMatching(detail) } })
    expect(read.ok ? '' : read.error.detail).toContain(path)
  })
})

test('a process record never names init or a process group', async () => {
  for (const pid of [0, -1, 1, 1.5]) {
    await writeFile(path, JSON.stringify({ version: 1, identity: { pid, startTicks: 1 } }))
    expect(await readRouter(path)).toMatchObject({ ok: false, error: { code: 'damaged' } })
  }
})
