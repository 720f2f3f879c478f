/** What the kernel refuses, in the words that a person reads. */
import { describe, expect, test } from 'vitest'
import { describeKernelError, kernelError, systemKernelError, toWeftError } from '../../../../router/kernel/kernel-error.ts'

describe('a refusal of the kernel', () => {
  test.each([
    { errno: 17, code: 'EEXIST' },
    { errno: 11, code: 'EAGAIN' },
    { errno: 95, code: 'EOPNOTSUPP' },
    { errno: 105, code: 'ENOBUFS' },
    { errno: 4_000, code: 'errno 4000' },
  ])('number $errno is called $code', ({ errno, code }) => {
    expect(kernelError('ip link show', errno)).toEqual({ code, errno, operation: 'ip link show', detail: undefined })
  })

  test('is told with what was attempted and what the kernel says', () => {
    const error = kernelError('ip route add default via 10.0.0.1', 101, 'Nexthop has invalid gateway')
    expect(describeKernelError(error)).toBe('ip route add default via 10.0.0.1: Nexthop has invalid gateway (ENETUNREACH)')
  })

  test('carries advice where the number alone says what to do', () => {
    const error = toWeftError(kernelError('ip link add br0 type bridge', 1))
    expect({ code: error.code, message: error.message, hint: error.hint }).toEqual({
      code: 'KERNEL',
      message: 'ip link add br0 type bridge: EPERM',
      hint: 'the router needs CAP_NET_ADMIN',
    })
  })

  test('carries the caller’s advice, who knows more', () => {
    expect(toWeftError(kernelError('ip link add weft-vx type vxlan', 95), 'load the vxlan module').hint).toBe('load the vxlan module')
  })
})

test('an exception that is not of a system call is a bug, and stays one', () => {
  const bug = new TypeError('bug')
  expect(() => systemKernelError('ip link show', bug)).toThrow(bug)
})
