/** What addresses cost: asked of a router through its socket, on its disk, on the wire; and its ring, in one process. */
import { WeftError } from '../mesh/base/errors.ts'
import { openLab } from '../router/lab/lab.ts'
import { parseLabName } from '../router/lab/names.ts'
import type { Bench, BenchContext, Row } from './form.ts'
import { measureJournals } from './ipam/journals.ts'
import { measurePods } from './ipam/pods.ts'
import { measureRequests } from './ipam/requests.ts'
import { measureRings } from './ipam/rings.ts'
import { startLab } from './lab.ts'

const HOSTS = 3

async function run(context: BenchContext): Promise<readonly Row[]> {
  const alone = [...measureRings(context), ...(await measureJournals(context))]
  context.progress(`building a lab of ${HOSTS} hosts`)
  await using built = await startLab(context, { name: 'benchipam', hosts: HOSTS, pods: 1 })
  const lab = await openLab(parseLabName(built.name))
  const host = lab.hosts.find(({ name }) => name === 'b')
  if (host === undefined) throw new WeftError('MISSING', 'the lab has no host b')
  const pods = await measurePods(context, lab)
  return [...(await measureRequests(context, lab, host)), ...alone, ...pods]
}

export const ipam: Bench = {
  name: 'ipam',
  about: 'what addresses cost: asked of a router, on its disk, on the wire; merging and telling a ring of 1,000 entries',
  rounds: 3,
  run,
}
