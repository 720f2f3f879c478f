/** Simulations side by side, one to a core: each is a run of its own, so that their order makes no difference. */
import { Worker } from 'node:worker_threads'
import type { Measured, Progress } from './scenarios.ts'

export interface Job {
  readonly size: number
  readonly seed: number
}

export interface JobsOptions {
  /** How many at a time. */
  readonly width: number
  readonly progress: (job: Job, doing: string) => void
  /** No further one is begun, and those under way are given up. */
  readonly signal: AbortSignal
}

/** What was measured, by job, in the order of the jobs; without those that the signal has cut off. */
export async function runJobs(jobs: readonly Job[], { width, progress, signal }: JobsOptions): Promise<ReadonlyMap<Job, Measured>> {
  const measured = new Map<Job, Measured>()
  const queue = [...jobs]
  const work = async (): Promise<void> => {
    for (let job = queue.shift(); job !== undefined && !signal.aborted; job = queue.shift()) {
      const current = job
      const result = await runJob(job, (doing) => progress(current, doing), signal)
      if (result !== undefined) measured.set(job, result)
    }
  }
  await Promise.all(Array.from({ length: width }, work))
  return new Map([...measured].sort(([a], [b]) => jobs.indexOf(a) - jobs.indexOf(b)))
}

/** A mesh of 1,000 holds about 3 GB. */
const HEAP_MB_MAX = 12_000

type Report = { readonly doing: string } | { readonly measured: Measured }

function runJob(job: Job, progress: Progress, signal: AbortSignal): Promise<Measured | undefined> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('../../sim/run.ts', import.meta.url), {
      workerData: job,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB_MAX },
    })
    const stop = (): void => void worker.terminate()
    signal.addEventListener('abort', stop, { once: true })
    let result: Measured | undefined
    worker.on('message', (report: Report) => {
      if ('doing' in report) progress(report.doing)
      else result = report.measured
    })
    worker.on('error', reject)
    worker.on('exit', () => {
      signal.removeEventListener('abort', stop)
      resolve(result)
    })
  })
}
