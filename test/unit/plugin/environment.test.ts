/** The CNI_* variables: which are needed, and what they may hold. */
import { describe, expect, test } from 'vitest'
import { mayBeOwnNamespace, parseArgs, parseAttachmentKey, parseCommand } from '../../../plugin/environment.ts'

const full = { CNI_CONTAINERID: 'c', CNI_NETNS: '/n', CNI_IFNAME: 'eth0', CNI_ARGS: 'A=b', CNI_PATH: '/bin' }

describe('which variables an operation needs', () => {
  test.each([
    ['ADD', ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME']],
    ['DEL', ['CNI_CONTAINERID', 'CNI_IFNAME']],
    ['CHECK', ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME']],
    ['GC', ['CNI_PATH']],
    ['STATUS', []],
    ['VERSION', []],
  ])('%s needs just %j', (command, needed) => {
    expect(parseCommand({ ...full, CNI_COMMAND: command })).toEqual({ ok: true, value: command })
    expect(needed).toEqual(Object.keys(full).filter((name) => !parseCommand({ ...full, CNI_COMMAND: command, [name]: '' }).ok))
    for (const name of needed) {
      const error = { code: 4, msg: `required env variables [${name}] missing` }
      expect(parseCommand({ ...full, CNI_COMMAND: command, [name]: '' })).toEqual({ ok: false, error })
    }
  })

  test('several missing ones are named together, in the order of the table', () => {
    const error = { code: 4, msg: 'required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME] missing' }
    expect(parseCommand({ CNI_COMMAND: 'ADD', CNI_IFNAME: '' })).toEqual({ ok: false, error })
  })

  test.each([
    ['', 'required env variables [CNI_COMMAND] missing'],
    ['NOPE', 'unknown CNI_COMMAND: NOPE'],
    ['add', 'unknown CNI_COMMAND: add'],
    ['toString', 'unknown CNI_COMMAND: toString'],
  ])('the command %j is refused', (command, msg) => {
    expect(parseCommand({ ...full, CNI_COMMAND: command })).toEqual({ ok: false, error: { code: 4, msg } })
  })
})

describe('what container ids and interface names may be', () => {
  test.each([
    ['a', 'e'],
    ['0Az_.-', 'eth0'],
    ['c', '123456789012345'],
    ['c', 'ééééééé'],
    ['c', '...'],
    ['c', 'a@b'],
  ])('%j with %j is fine', (containerId, ifname) => {
    expect(parseAttachmentKey(containerId, ifname)).toEqual({ ok: true, value: { containerId, ifname } })
  })

  test.each(['', '.a', '-a', '_a', 'a/b', 'a b', 'a\n', '../x', 'ä', 'a;b'])('the container id %j is refused', (containerId) => {
    const error = { code: 4, msg: 'invalid characters in containerID (CNI_CONTAINERID)', details: containerId }
    expect(parseAttachmentKey(containerId, 'eth0')).toEqual({ ok: false, error })
  })

  test.each([
    ['', 'CNI_IFNAME is empty'],
    ['1234567890123456', 'CNI_IFNAME is too long: an interface name has at most 15 bytes'],
    ['éééééééé', 'CNI_IFNAME is too long: an interface name has at most 15 bytes'],
    ['.', 'CNI_IFNAME is . or ..'],
    ['..', 'CNI_IFNAME is . or ..'],
    ['a/b', 'CNI_IFNAME contains / or : or whitespace characters'],
    ['a:b', 'CNI_IFNAME contains / or : or whitespace characters'],
    ['a b', 'CNI_IFNAME contains / or : or whitespace characters'],
    ['a\t', 'CNI_IFNAME contains / or : or whitespace characters'],
    ['a\u00a0', 'CNI_IFNAME contains / or : or whitespace characters'],
    ['a\ufffd', 'CNI_IFNAME is not valid UTF-8'],
  ])('the interface name %j is refused', (ifname, msg) => {
    expect(parseAttachmentKey('c', ifname)).toEqual({ ok: false, error: { code: 4, msg, details: ifname } })
  })
})

describe('CNI_ARGS', () => {
  test('pairs come in any order, values may hold =, and a closing ; is fine', () => {
    const args = parseArgs('IgnoreUnknown=1;K8S_POD_NAME=p;X=a=b;')
    expect(args).toEqual({
      ok: true,
      value: new Map([
        ['IgnoreUnknown', '1'],
        ['K8S_POD_NAME', 'p'],
        ['X', 'a=b'],
      ]),
    })
  })

  test.each(['x', 'A=b;x', '=b'])('%j is refused', (text) => {
    expect(parseArgs(text)).toMatchObject({ ok: false, error: { code: 4, details: text } })
  })
})

test.each([
  ['1', true],
  ['TRUE', true],
  ['true', true],
  ['0', false],
  ['', false],
])('CNI_NETNS_OVERRIDE=%j means %j', (value, expected) => {
  expect(mayBeOwnNamespace({ CNI_NETNS_OVERRIDE: value })).toBe(expected)
})
