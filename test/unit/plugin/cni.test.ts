/** The plugin from request to answer, over a pod network in memory: the scenarios of the reference suite. */
import { describe, expect, test } from 'vitest'
import { handleCni } from '../../../plugin/cni.ts'
import type { PodNetworkPort } from '../../../plugin/port.ts'
import type { CniRequest, PassedNetns } from '../../../plugin/relay.ts'
import { CNI_VERSIONS } from '../../../plugin/versions.ts'
import type { Fd } from '../../../router/kernel/native.ts'
import { PodNetworkModel } from '../../support/pod-network-model.ts'

const forever = new AbortController().signal

interface Call {
  readonly env?: Readonly<Record<string, string>>
  readonly conf?: object
  readonly netns?: PassedNetns
  readonly signal?: AbortSignal
}

function passed(namespace: number, isOwn = false): PassedNetns {
  return { kind: 'passed', netns: { namespace: namespace as Fd, routeSocket: 99 as Fd }, isOwn }
}

/** As a runtime calls: container `c`, interface `eth0`, in a namespace of the container's own. */
async function cni(port: PodNetworkPort, command: string, { env, conf, netns = passed(1), signal = forever }: Call = {}) {
  const request: CniRequest = {
    env: { CNI_COMMAND: command, CNI_CONTAINERID: 'c', CNI_NETNS: '/run/netns/c', CNI_IFNAME: 'eth0', CNI_PATH: '/opt/cni/bin', ...env },
    stdin: JSON.stringify({ cniVersion: '1.1.0', name: 'weft', type: 'weft-cni', ...conf }),
    netns,
  }
  const { exitCode, stdout } = await handleCni(request, port, signal)
  return { exitCode, answer: stdout === '' ? undefined : JSON.parse(stdout) }
}

const silence = { exitCode: 0, answer: undefined }
const fault = (code: number, msg: string, more: object = {}) => ({ exitCode: 1, answer: { cniVersion: '1.1.0', code, msg, ...more } })

const added = {
  exitCode: 0,
  answer: {
    cniVersion: '1.1.0',
    interfaces: [
      { name: 'weftc', mac: '0a:00:00:00:00:01' },
      { name: 'eth0', mac: '0a:00:00:00:00:02', mtu: 1_410, sandbox: '/run/netns/c' },
    ],
    ips: [{ interface: 1, address: '10.32.0.2/32', gateway: '169.254.1.1' }],
    routes: [{ dst: '0.0.0.0/0', gw: '169.254.1.1' }],
  },
}

describe('ADD', () => {
  test('answers the whole result', async () => {
    expect(await cni(new PodNetworkModel(), 'ADD')).toEqual(added)
  })

  test.each([undefined, ...CNI_VERSIONS])('answers in the version asked for: %s', async (cniVersion) => {
    const { exitCode, answer } = await cni(new PodNetworkModel(), 'ADD', { conf: { cniVersion } })
    expect({ exitCode, version: answer.cniVersion }).toEqual({ exitCode: 0, version: cniVersion ?? '0.1.0' })
    expect(answer.ip4?.ip ?? answer.ips[0].address).toBe('10.32.0.2/32')
  })

  test('hands on who the pod is and what it must get', async () => {
    const port = new PodNetworkModel()
    const env = { CNI_ARGS: 'K8S_POD_UID=u;IgnoreUnknown=1;K8S_POD_NAME=web-0;MAC=0a:00:00:00:00:99;K8S_POD_NAMESPACE=shop;IP=10.32.0.9' }
    const { answer } = await cni(port, 'ADD', { env })
    expect([answer.ips[0].address, answer.interfaces[1].mac]).toEqual(['10.32.0.9/32', '0a:00:00:00:00:99'])
    expect(port.requestOf('c', 'eth0')).toMatchObject({ network: 'weft', pod: { namespace: 'shop', name: 'web-0', uid: 'u' } })
  })

  test('without a name of the pod, there is no pod', async () => {
    const port = new PodNetworkModel()
    await cni(port, 'ADD', { env: { CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAMESPACE=shop' } })
    expect(port.requestOf('c', 'eth0')?.pod).toBeUndefined()
  })

  test('a second interface of a container is a second attachment, with an address of its own', async () => {
    const port = new PodNetworkModel()
    await cni(port, 'ADD')
    const { answer } = await cni(port, 'ADD', { env: { CNI_IFNAME: 'net1' } })
    expect(answer.ips[0].address).toBe('10.32.0.3/32')
    expect(port.attached).toEqual(['c/eth0', 'c/net1'])
  })

  test('as a later plugin of a list, keeps what came before', async () => {
    const prevResult = {
      cniVersion: '1.1.0',
      interfaces: [{ name: 'net0', sandbox: '/run/netns/c' }],
      ips: [{ address: '192.0.2.2/24', interface: 0 }],
    }
    const { answer } = await cni(new PodNetworkModel(), 'ADD', { conf: { prevResult } })
    expect(answer.interfaces.map(({ name }: { name: string }) => name)).toEqual(['net0', 'weftc', 'eth0'])
    expect(answer.ips).toEqual([
      { address: '192.0.2.2/24', interface: 0 },
      { address: '10.32.0.2/32', interface: 2, gateway: '169.254.1.1' },
    ])
  })

  test("passes the configuration's resolver settings on", async () => {
    const dns = { nameservers: ['10.96.0.10'], options: ['ndots:5'] }
    expect((await cni(new PodNetworkModel(), 'ADD', { conf: { dns } })).answer.dns).toEqual(dns)
  })

  test('the same attachment twice is the runtime’s fault, and takes no second address', async () => {
    const port = new PodNetworkModel()
    await cni(port, 'ADD')
    const msg = 'CNI_CONTAINERID and CNI_IFNAME: eth0 of this container is attached already, DEL it first'
    expect(await cni(port, 'ADD')).toEqual(fault(4, msg, { details: 'c' }))
    expect(port.freeAddresses).toBe(249)
  })

  test('an interface of that name that is not ours makes it fail, and no address leaks', async () => {
    const port = new PodNetworkModel()
    port.addForeignInterface('1', 'eth0')
    expect(await cni(port, 'ADD')).toEqual(fault(4, 'CNI_IFNAME: an interface eth0 exists already', { details: '/run/netns/c' }))
    expect(port.freeAddresses).toBe(250)
  })

  test('without an address it says so, and that a later try may succeed', async () => {
    expect(await cni(new PodNetworkModel({ addresses: 0 }), 'ADD')).toEqual(fault(11, 'no address: none is free'))
  })

  test('a refusal of the kernel is passed on', async () => {
    const port = new PodNetworkModel()
    port.refusal = 'RTM_NEWLINK: EPERM'
    expect(await cni(port, 'ADD')).toEqual(fault(100, 'the kernel refused: RTM_NEWLINK: EPERM'))
  })

  test.each([
    ['namespace-gone', 8, 'the network namespace CNI_NETNS went away'],
    ['host-namespace', 8, "CNI_NETNS is the host's network namespace"],
  ] as const)('%s is code %i', async (code, number, msg) => {
    const port = Object.assign(new PodNetworkModel(), { attach: () => Promise.resolve({ ok: false, error: { code } } as const) })
    expect(await cni(port, 'ADD')).toEqual(fault(number, msg, { details: '/run/netns/c' }))
  })

  test('an exception is an internal error, once, and the answer is still JSON', async () => {
    const port = Object.assign(new PodNetworkModel(), { attach: () => Promise.reject(new Error('boom')) })
    expect(await cni(port, 'ADD')).toEqual(fault(999, 'internal error: boom'))
  })

  test('gives up when nobody waits any longer, and says why', async () => {
    const port = new PodNetworkModel()
    const abort = new AbortController()
    port.hold()
    const answer = cni(port, 'ADD', { signal: abort.signal })
    abort.abort(new Error('it took longer than 50000 ms'))
    expect(await answer).toEqual(fault(11, 'gave up and undid everything: it took longer than 50000 ms'))
    expect([port.attached, port.freeAddresses]).toEqual([[], 250])
  })
})

describe('the namespace', () => {
  test("the runtime's own is refused before anything is touched", async () => {
    const port = new PodNetworkModel()
    const own = fault(8, "CNI_NETNS is the plugin's own network namespace", { details: '/run/netns/c' })
    expect(await cni(port, 'ADD', { netns: passed(1, true) })).toEqual(own)
    expect(port.attached).toEqual([])
    expect((await cni(port, 'ADD', { netns: passed(1, true), env: { CNI_NETNS_OVERRIDE: 'TRUE' } })).exitCode).toBe(0)
  })

  test.each(['ADD', 'CHECK'])('one that %s cannot use is named with the reason', async (command) => {
    const conf = { prevResult: added.answer }
    const answer = await cni(new PodNetworkModel(), command, { conf, netns: { kind: 'failed', reason: 'No such file or directory' } })
    const msg = 'cannot use the network namespace CNI_NETNS: No such file or directory'
    expect(answer).toEqual(fault(8, msg, { details: '/run/netns/c' }))
  })
})

describe('DEL', () => {
  test('detaches, says nothing, and may be repeated', async () => {
    const port = new PodNetworkModel()
    await cni(port, 'ADD')
    expect([await cni(port, 'DEL'), await cni(port, 'DEL')]).toEqual([silence, silence])
    expect([port.attached, port.freeAddresses]).toEqual([[], 250])
  })

  test.each([
    ['of what was never added', {}],
    ['without a namespace', { env: { CNI_NETNS: '' } }],
    ['with a damaged prevResult', { conf: { prevResult: 'x' } }],
    ['with a changed configuration', { conf: { cniVersion: '0.3.1', ips: 7, runtimeConfig: 7, dns: 7 } }],
    ['with odd CNI_ARGS', { env: { CNI_ARGS: 'x;;' } }],
  ])('succeeds %s', async (_, call) => {
    expect(await cni(new PodNetworkModel(), 'DEL', { ...call, netns: { kind: 'absent' } })).toEqual(silence)
  })

  test('leaves the other interfaces of the container alone', async () => {
    const port = new PodNetworkModel()
    await cni(port, 'ADD')
    await cni(port, 'ADD', { env: { CNI_IFNAME: 'net1' } })
    await cni(port, 'DEL')
    expect(port.attached).toEqual(['c/net1'])
  })

  test('fails when the kernel refuses, so that the runtime repeats it', async () => {
    const port = new PodNetworkModel()
    await cni(port, 'ADD')
    port.refusal = 'EBUSY'
    expect(await cni(port, 'DEL')).toEqual(fault(100, 'the kernel refused: c/eth0: EBUSY'))
    expect(port.attached).toEqual(['c/eth0'])
  })
})

describe('CHECK', () => {
  const conf = { prevResult: added.answer }

  test('is silent when all is as ADD left it', async () => {
    const port = new PodNetworkModel()
    await cni(port, 'ADD')
    expect(await cni(port, 'CHECK', { conf })).toEqual(silence)
  })

  test('lets later plugins add interfaces and addresses', async () => {
    const port = new PodNetworkModel()
    await cni(port, 'ADD')
    const { interfaces, ips } = added.answer
    const prevResult = {
      interfaces: [...interfaces, { name: 'net1', sandbox: '/run/netns/c' }],
      ips: [...ips, { address: '192.0.2.1/24', interface: 2 }],
    }
    expect(await cni(port, 'CHECK', { conf: { prevResult } })).toEqual(silence)
  })

  test('fails when the attachment is gone', async () => {
    expect(await cni(new PodNetworkModel(), 'CHECK', { conf })).toEqual(fault(101, 'no such attachment: it was never made, or was removed'))
  })

  test('fails when the address is another', async () => {
    const port = new PodNetworkModel()
    await cni(port, 'ADD', { env: { CNI_ARGS: 'IP=10.32.0.9' } })
    const details = 'the pod has 10.32.0.9/32, not 10.32.0.2/32'
    expect(await cni(port, 'CHECK', { conf })).toEqual(fault(101, 'the attachment is not as ADD left it', { details }))
  })

  test.each([
    [{}, 7, 'CHECK needs prevResult, the result of ADD'],
    [{ prevResult: {} }, 7, 'prevResult has no address of eth0 in /run/netns/c'],
    [{ prevResult: 7 }, 6, 'cannot decode prevResult'],
  ])('the configuration %j is refused', async (more, code, msg) => {
    expect((await cni(new PodNetworkModel(), 'CHECK', { conf: more })).answer).toMatchObject({ code, msg })
  })
})

describe('another plugin that asks for an address', () => {
  const conf = { type: 'macvlan', ipam: { type: 'weft-ipam' } }
  const reserved = { exitCode: 0, answer: { cniVersion: '1.1.0', ips: [{ address: '10.32.0.2/32' }] } }
  const own = { ...conf, prevResult: { ips: [{ address: '10.32.0.2/12', interface: 0 }], interfaces: [{ name: 'eth0' }] } }

  test('gets one, in whatever namespace, and no interface', async () => {
    const port = new PodNetworkModel()
    expect(await cni(port, 'ADD', { conf, netns: { kind: 'absent' } })).toMatchObject(reserved)
    expect(port.attached).toEqual([])
  })

  test('gets another one for another interface, and none for the same', async () => {
    const port = new PodNetworkModel()
    await cni(port, 'ADD', { conf })
    expect((await cni(port, 'ADD', { conf, env: { CNI_IFNAME: 'net1' } })).answer).toMatchObject({ ips: [{ address: '10.32.0.3/32' }] })
    expect((await cni(port, 'ADD', { conf })).answer).toMatchObject({ code: 4 })
  })

  test('hears when there is none', async () => {
    expect((await cni(new PodNetworkModel({ addresses: 0 }), 'ADD', { conf })).answer).toMatchObject({ code: 11 })
  })

  test('gives it back with DEL, as often as it likes', async () => {
    const port = new PodNetworkModel()
    await cni(port, 'ADD', { conf })
    for (let time = 0; time < 2; time++) expect(await cni(port, 'DEL', { conf })).toEqual(silence)
    expect(port.freeAddresses).toBe(new PodNetworkModel().freeAddresses)
  })

  test('gives back nothing that is attached', async () => {
    const port = new PodNetworkModel()
    await cni(port, 'ADD')
    expect(await cni(port, 'DEL', { conf })).toEqual(silence)
    expect(port.attached).toEqual(['c/eth0'])
  })

  test('hears whether it still has it', async () => {
    const port = new PodNetworkModel()
    expect((await cni(port, 'CHECK', { conf: own })).answer).toMatchObject({ code: 101 })
    await cni(port, 'ADD', { conf })
    expect(await cni(port, 'CHECK', { conf: own })).toEqual(silence)
    const details = '10.32.0.2 is allocated to it, not 10.32.0.9/12'
    const other = { ...conf, prevResult: { ips: [{ address: '10.32.0.9/12' }] } }
    expect(await cni(port, 'CHECK', { conf: other })).toEqual(fault(101, 'the attachment is not as ADD left it', { details }))
    expect((await cni(port, 'CHECK', { conf })).answer).toMatchObject({ code: 7 })
  })

  test('is not meant when the plugin is ours', async () => {
    const port = new PodNetworkModel()
    expect(await cni(port, 'ADD', { conf: { ipam: { type: 'weft-ipam' } } })).toEqual(added)
  })
})

describe('STATUS', () => {
  const env = { CNI_CONTAINERID: '', CNI_NETNS: '', CNI_IFNAME: '', CNI_PATH: '' }

  test('is silent while an ADD could be served, and needs none of the variables', async () => {
    expect(await cni(new PodNetworkModel(), 'STATUS', { env })).toEqual(silence)
  })

  test('is code 50 when all addresses are in use', async () => {
    expect(await cni(new PodNetworkModel({ addresses: 0 }), 'STATUS', { env })).toEqual(fault(50, 'all addresses are in use'))
  })
})

describe('GC', () => {
  async function threePods(): Promise<PodNetworkModel> {
    const port = new PodNetworkModel()
    await cni(port, 'ADD', { env: { CNI_CONTAINERID: 'a' }, netns: passed(1) })
    await cni(port, 'ADD', { env: { CNI_CONTAINERID: 'b' }, netns: passed(2) })
    await cni(port, 'ADD', { env: { CNI_CONTAINERID: 'z' }, netns: passed(3), conf: { name: 'other' } })
    return port
  }

  test.each([
    [
      'keeps what is in the list, and other networks',
      { 'cni.dev/valid-attachments': [{ containerID: 'a', ifname: 'eth0' }] },
      ['a/eth0', 'z/eth0'],
    ],
    ['an interface not in the list is stale', { 'cni.dev/attachments': [{ containerID: 'a', ifname: 'net1' }] }, ['z/eth0']],
    ['removes all of the network for an empty list', { 'cni.dev/valid-attachments': [] }, ['z/eth0']],
    ['does nothing without a list', {}, ['a/eth0', 'b/eth0', 'z/eth0']],
  ])('%s', async (_, conf, left) => {
    const port = await threePods()
    expect(await cni(port, 'GC', { conf })).toEqual(silence)
    expect(port.attached).toEqual(left)
  })

  test('reports every failure', async () => {
    const port = await threePods()
    port.refusal = 'EBUSY'
    const answer = await cni(port, 'GC', { conf: { 'cni.dev/valid-attachments': [] } })
    expect(answer).toEqual(fault(100, 'the kernel refused: a/eth0: EBUSY; b/eth0: EBUSY'))
  })
})

describe('versions', () => {
  test('VERSION lists all', async () => {
    const answer = { cniVersion: '1.1.0', supportedVersions: CNI_VERSIONS }
    expect(await cni(new PodNetworkModel(), 'VERSION', { conf: { name: '' } })).toEqual({ exitCode: 0, answer })
  })

  test.each([
    ['CHECK', '0.3.1', '0.4.0'],
    ['CHECK', undefined, '0.4.0'],
    ['GC', '1.0.0', '1.1.0'],
    ['STATUS', '1.0.0', '1.1.0'],
  ])('%s with a configuration of %s is refused', async (command, cniVersion, since) => {
    const { answer } = await cni(new PodNetworkModel(), command, { conf: { cniVersion, prevResult: added.answer } })
    const msg = `config version does not allow ${command}`
    expect(answer).toEqual({ cniVersion: cniVersion ?? '0.1.0', code: 1, msg, details: `${command} needs ${since}` })
  })

  test.each(['ADD', 'DEL', 'CHECK', 'GC', 'STATUS'])('%s refuses a version that nobody knows', async (command) => {
    expect((await cni(new PodNetworkModel(), command, { conf: { cniVersion: '9.9.9' } })).answer).toMatchObject({ code: 1 })
  })

  test.each(['CHECK', 'GC', 'STATUS'])('%s cannot decode a version that is no number', async (command) => {
    expect((await cni(new PodNetworkModel(), command, { conf: { cniVersion: 'new' } })).answer).toMatchObject({ code: 6 })
  })
})

describe('the order of complaints', () => {
  const bad = { CNI_CONTAINERID: '/', CNI_IFNAME: '/' }

  test.each([
    ['missing variables come first', { env: { CNI_NETNS: '' }, conf: { name: '' } }, 4],
    ['then the network name', { env: bad, conf: { name: '', cniVersion: '9' } }, 7],
    ['then the container id and the interface name', { env: bad, conf: { cniVersion: '9' } }, 4],
    ['then the version', { conf: { cniVersion: '9' }, netns: passed(1, true) }, 1],
    ['then the namespace', { netns: passed(1, true), env: { CNI_ARGS: 'x' } }, 8],
    ['then what is asked for', { env: { CNI_ARGS: 'x' } }, 4],
  ])('%s', async (_, call, code) => {
    const port = new PodNetworkModel()
    expect((await cni(port, 'ADD', call)).answer.code).toBe(code)
    expect(port.attached).toEqual([])
  })
})
