/** Some seeds of `npm run sim -- ipam`, one after the other, in a worker of its own. */
import { parentPort, workerData } from 'node:worker_threads'
import { z } from 'zod'
import { ipamChaos } from '../support/sim/ipam-chaos.ts'
import type { IpamSeed } from '../support/sim/ipam-report.ts'

const { seeds } = z.object({ seeds: z.array(z.number()) }).parse(workerData)

const measured: IpamSeed[] = []
for (const seed of seeds) {
  const { violations, happened, hash, plan, history } = await ipamChaos(seed)
  measured.push({ seed, plan, hash, violations, happened: [...happened], operations: history.length })
  parentPort?.postMessage({ doing: `seed ${seed}: ${plan}: ${violations[0] ?? `${history.length} operations, all well`}` })
}
parentPort?.postMessage({ measured })
