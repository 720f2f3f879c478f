/** Families of generic netlink, in the words of `genl`. */
import { err, ok, type Result } from '../../mesh/base/result.ts'
import { CONTROL_FAMILY, decodeFamily, encodeFamilyQuery } from './codec/generic.ts'
import type { KernelError } from './kernel-error.ts'
import type { Netlink } from './netlink.ts'

/**
 * Equivalent to: `genl ctrl get name NAME`: the type of its messages. Undefined when this kernel has no such family; it may load a
 * module to find out.
 * @param generic a socket of the protocol `generic`.
 */
export async function findFamily(generic: Netlink, name: string): Promise<Result<number | undefined, KernelError>> {
  const request = { type: CONTROL_FAMILY, payload: encodeFamilyQuery(name), operation: `genl ctrl get name ${name}` }
  const found = await generic.query(request, decodeFamily)
  if (found.ok) return ok(found.value[0])
  return found.error.code === 'ENOENT' ? ok(undefined) : err(found.error)
}
