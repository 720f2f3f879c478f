/**
 * Waiting until a link passes packets.
 *
 * The end of a veth that is set up first has no carrier, so the kernel gives it no queue: whatever is sent by it is dropped and
 * counted nowhere but at the link. Setting up the other end gives it a carrier at once, and a queue a little later, in work that
 * the kernel defers ("link watch"): a millisecond on an idle machine, some tenths of a second on a busy one. Since Linux 6.8 the
 * kernel does that work before it answers a question for the link, so the first look is the last. Earlier ones are asked again.
 */
import { type Millis, seconds } from '../../mesh/base/brand.ts'
import type { Clock } from '../../mesh/base/clock.ts'
import { err, ok, type Result } from '../../mesh/base/result.ts'
import type { Link } from './codec/link.ts'
import { type KernelError, kernelError } from './kernel-error.ts'
import { lookUntil } from './look.ts'

/** The kernel defers it by no more than a second; then it waits for its lock only. */
const WITHIN: Millis = seconds(10)

const ENODEV = 19
const ETIMEDOUT = 110

/**
 * Both ends of the link have been set up.
 * @param look what the kernel says of it now. ENODEV when it is gone, ETIMEDOUT when it passes nothing for too long.
 * @param signal ends the wait, with ETIMEDOUT as well.
 */
export async function untilOperational(
  look: () => Promise<Result<Link | undefined, KernelError>>,
  clock: Clock,
  signal?: AbortSignal,
): Promise<Result<void, KernelError>> {
  let name = ''
  const passes = async (): Promise<Result<boolean, KernelError>> => {
    const found = await look()
    if (!found.ok) return found
    if (found.value === undefined) return err(kernelError('ip link show', ENODEV, 'the link is gone'))
    name = found.value.name
    return ok(found.value.operational)
  }
  const seen = await lookUntil(passes, { clock, within: WITHIN, signal })
  if (!seen.ok) return seen
  return seen.value
    ? ok(undefined)
    : err(kernelError(`ip link show dev ${name}`, ETIMEDOUT, 'it is up, and the kernel does not take it into use'))
}
