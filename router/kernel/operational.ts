/**
 * Waiting until a link passes packets.
 *
 * The end of a veth that is set up first has no carrier, so the kernel gives it no queue: whatever is sent by it is dropped and
 * counted nowhere but at the link. Setting up the other end gives it a carrier at once, and a queue a little later, in work that
 * the kernel defers ("link watch"): a millisecond on an idle machine, some tenths of a second on a busy one. Since Linux 6.8 the
 * kernel does that work before it answers a question for the link, so the first look is the last. Earlier ones are asked again.
 */
import { type Millis, millis, seconds } from '../../mesh/base/brand.ts'
import type { Clock } from '../../mesh/base/clock.ts'
import { err, ok, type Result } from '../../mesh/base/result.ts'
import type { Link } from './codec/link.ts'
import { type KernelError, kernelError } from './kernel-error.ts'

const FIRST_WAIT = millis(1)
/** Each look takes the lock that the kernel's own work is waiting for. */
const WAIT_MAX = millis(64)
/** The kernel defers it by no more than a second; then it waits for its lock only. */
const WITHIN: Millis = seconds(10)

const ENODEV = 19
const ETIMEDOUT = 110

/**
 * Both ends of the link have been set up.
 * @param look what the kernel says of it now. ENODEV when it is gone, ETIMEDOUT when it passes nothing for too long.
 */
export async function untilOperational(
  look: () => Promise<Result<Link | undefined, KernelError>>,
  clock: Clock,
): Promise<Result<void, KernelError>> {
  const end = clock.now() + WITHIN
  for (let wait = FIRST_WAIT; ; wait = millis(Math.min(2 * wait, WAIT_MAX))) {
    const found = await look()
    if (!found.ok) return found
    if (found.value?.operational === true) return ok(undefined)
    if (found.value === undefined) return err(kernelError('ip link show', ENODEV, 'the link is gone'))
    if (clock.now() >= end)
      return err(kernelError(`ip link show dev ${found.value.name}`, ETIMEDOUT, 'it is up, and the kernel does not take it into use'))
    await new Promise<void>((resolve) => clock.after(wait, resolve))
  }
}
