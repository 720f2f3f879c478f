/** What the mesh costs: on the wire, in memory, in time, of a lab of real routers; and what its records cost in one process. */
import type { Bench } from './form.ts'
import { measureRecords } from './mesh/records.ts'
import { measureRouters } from './mesh/routers.ts'

export const mesh: Bench = {
  name: 'mesh',
  about: 'what the mesh costs: bytes at rest, memory, connections, time to hear of a start and of a death; its records',
  rounds: 3,
  run: async (context) => [...(await measureRecords(context)), ...(await measureRouters(context))],
}
