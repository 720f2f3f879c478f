/** A lab of its own for a bench, built by the command that people use, and removed whatever happens. */
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { systemClock } from '../mesh/base/clock.ts'
import { WeftError } from '../mesh/base/errors.ts'
import { systemRandom } from '../mesh/base/random.ts'
import type { LabPorts } from '../router/lab/ports.ts'
import type { BenchContext } from './form.ts'
import { command } from './shell.ts'

const MAIN = fileURLToPath(new URL('../router/main.ts', import.meta.url))

const upReport = z.object({ pods: z.array(z.object({ name: z.string(), address: z.string() })) })

export interface LabPod {
  readonly address: string
  readonly namespace: string
}

export interface Lab extends AsyncDisposable {
  readonly name: string
  /** @throws {WeftError} MISSING when there is no such pod. */
  pod(name: string): LabPod
  /** `weft lab COMMAND --name …`; its standard output. */
  run(words: readonly string[]): Promise<string>
}

export interface LabSize {
  /** `bench` unless told otherwise: benches with labs of different names can run side by side. */
  readonly name?: string
  readonly hosts: number
  readonly pods: number
}

export async function startLab(context: BenchContext, size: LabSize): Promise<Lab> {
  const { name = 'bench' } = size
  const lab = (words: readonly string[]): Promise<string> => {
    const [first = '', ...rest] = words
    return command([context.node.path, ...context.node.flags, MAIN, 'lab', first, '--name', name, ...rest])
  }
  const down = async (): Promise<void> => void (await lab(['down']))
  await down()
  try {
    const report = upReport.parse(JSON.parse(await lab(['up', '--hosts', String(size.hosts), '--pods', String(size.pods), '--json'])))
    return {
      name,
      run: lab,
      pod(wanted) {
        const found = report.pods.find((pod) => pod.name === wanted)
        if (found === undefined) throw new WeftError('MISSING', `the lab has no pod ${wanted}`)
        return { address: found.address, namespace: `weft-${name}-${wanted}` }
      },
      [Symbol.asyncDispose]: down,
    }
  } catch (error) {
    await down()
    throw error
  }
}

/** For what the commands of the lab cannot do. */
export function labPorts({ node, searchPath, signal }: BenchContext): LabPorts {
  return { clock: systemClock, random: systemRandom, node, searchPath, signal, step: () => undefined }
}
