/** Figures of the kernel, read from its text. */
import { expect, test } from 'vitest'
import { deviceBytes, processorSeconds, residentMegabytes } from '../../../bench/procfs.ts'

const NET_DEV = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       7       1    0    0    0     0          0         0        7       1    0    0    0     0       0          0
  eth0:612912    2374    0    0    0     0          0         0   555604    1892    0    0    0     0       0          0
`

test.each([
  { device: 'eth0', bytes: 612_912 + 555_604 },
  { device: 'lo', bytes: 14 },
])('$device has received and sent $bytes bytes', ({ device, bytes }) => expect(deviceBytes(NET_DEV, device)).toBe(bytes))

test.each(['eth', 'eth01', ''])('there are no counters of %j', (device) =>
  expect(() => deviceBytes(NET_DEV, device)).toThrow(expect.objectContaining({ code: 'INPUT' })),
)

test('memory is told in megabytes', () => {
  expect(residentMegabytes('VmHWM:\t  200000 kB\nVmRSS:\t  100000 kB\n')).toBe(102.4)
  expect(() => residentMegabytes('Name:\tkthreadd\n')).toThrow(expect.objectContaining({ code: 'INPUT' }))
})

test('the processor time of a process is read, whatever its name', () => {
  const rest = 'S 1 2 3 0 -1 4194560 5 6 7 8 1234 566 11 12 20 0 11 0 99 1 2'
  expect(processorSeconds(`42 (node) ${rest}`)).toBe(18)
  expect(processorSeconds(`42 (a) S 1 (2)) ${rest}`)).toBe(18)
  expect(() => processorSeconds('')).toThrow('no processor time')
})
