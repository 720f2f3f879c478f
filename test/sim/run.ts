/** One simulated mesh of `npm run sim`, in a worker of its own. */
import { parentPort, workerData } from 'node:worker_threads'
import { z } from 'zod'
import { measure } from '../support/sim/scenarios.ts'

const { size, seed } = z.object({ size: z.number(), seed: z.number() }).parse(workerData)

parentPort?.postMessage({ measured: await measure(size, seed, (doing) => parentPort?.postMessage({ doing })) })
