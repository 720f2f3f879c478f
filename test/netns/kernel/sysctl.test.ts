/** Kernel settings, written by a process inside a fresh namespace. */
import { describe, expect, test } from 'vitest'
import { readSysctl, writeSysctl } from '../../../router/kernel/sysctl.ts'
import { makeNetns } from '../../support/netns.ts'

const MODULE = new URL('../../../router/kernel/sysctl.ts', import.meta.url).pathname

test('a setting is written only when it differs', async () => {
  await using ns = await makeNetns()
  const script = `
    import { readSysctl, writeSysctl } from '${MODULE}'
    const key = 'net.ipv4.ip_forward'
    console.log(JSON.stringify([await writeSysctl(key, '1'), await writeSysctl(key, '1'), await readSysctl(key)]))`
  const output = await ns.exec(process.execPath, '--input-type=module', '-e', script)
  expect(JSON.parse(output)).toEqual([true, false, '1'])
  expect(await ns.exec('cat', '/proc/sys/net/ipv4/ip_forward')).toBe('1\n')
})

test('a dot in a link’s name is written as a slash, and all else as it is', async () => {
  await using ns = await makeNetns()
  await ns.exec('ip', 'link', 'add', 'weft~é', 'type', 'bridge')
  await ns.exec('ip', 'link', 'add', 'weft.7', 'type', 'bridge')
  const script = `
    import { writeSysctl } from '${MODULE}'
    await writeSysctl('net.ipv4.conf.weft/7.rp_filter', '2')
    await writeSysctl('net.ipv4.conf.weft~é.rp_filter', '2')`
  await ns.exec(process.execPath, '--input-type=module', '-e', script)
  expect(await ns.exec('cat', '/proc/sys/net/ipv4/conf/weft.7/rp_filter', '/proc/sys/net/ipv4/conf/weft~é/rp_filter')).toBe('2\n2\n')
})

describe('what cannot be', () => {
  test('a setting that this kernel does not have is missing', async () => {
    await expect(readSysctl('net.ipv4.weft')).rejects.toMatchObject({
      code: 'MISSING',
      message: 'cannot read the kernel setting net.ipv4.weft',
    })
  })

  test('a setting that may not be written says how a person can', async () => {
    const key = 'kernel.ostype'
    await expect(writeSysctl(key, 'Weft')).rejects.toMatchObject({
      code: 'KERNEL',
      message: 'cannot set the kernel setting kernel.ostype to Weft (it is Linux)',
      hint: 'as root on the host: sysctl -w kernel.ostype=Weft',
    })
  })

  test.each(['', 'net..ip_forward', 'net.//.ip_forward', '/etc/passwd', 'net.ipv4.ip forward'])('%j is no key', async (key) => {
    await expect(readSysctl(key)).rejects.toThrow(RangeError)
  })
})
