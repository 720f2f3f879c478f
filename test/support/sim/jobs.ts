/** Simulations side by side, one to a core: each is a run of its own, so that their order makes no difference. */
import { Worker } from 'node:worker_threads'

export interface JobsOptions<Job> {
  /** What each worker runs: its job is its `workerData`, and it posts `{ doing }` as it goes on and `{ measured }` at the end. */
  readonly script: URL
  /** How many at a time. */
  readonly width: number
  readonly progress: (job: Job, doing: string) => void
  /** No further one is begun, and those under way are given up. */
  readonly signal: AbortSignal
}

/** What was measured, by job, in the order of the jobs; without those that the signal has cut off. */
export async function runJobs<Job, Measured>(
  jobs: readonly Job[],
  { script, width, progress, signal }: JobsOptions<Job>,
): Promise<ReadonlyMap<Job, Measured>> {
  const measured = new Map<Job, Measured>()
  const queue = [...jobs]
  const work = async (): Promise<void> => {
    for (let job = queue.shift(); job !== undefined && !signal.aborted; job = queue.shift()) {
      const current = job
      const result = await runJob<Measured>({ script, workerData: job, signal }, (doing) => progress(current, doing))
      if (result !== undefined) measured.set(job, result)
    }
  }
  await Promise.all(Array.from({ length: width }, work))
  return new Map([...measured].sort(([a], [b]) => jobs.indexOf(a) - jobs.indexOf(b)))
}

/** A mesh of 1,000 holds about 3 GB. */
const HEAP_MB_MAX = 12_000

type Report<Measured> = { readonly doing: string } | { readonly measured: Measured }

interface Task {
  readonly script: URL
  readonly workerData: unknown
  readonly signal: AbortSignal
}

function runJob<Measured>({ script, workerData, signal }: Task, progress: (doing: string) => void): Promise<Measured | undefined> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(script, {
      workerData,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB_MAX },
    })
    const stop = (): void => void worker.terminate()
    signal.addEventListener('abort', stop, { once: true })
    let result: Measured | undefined
    worker.on('message', (report: Report<Measured>) => {
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
