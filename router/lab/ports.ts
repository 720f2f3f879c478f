/** What the lab takes from the process it runs in. */
import type { Clock } from '../../mesh/base/clock.ts'
import type { Random } from '../../mesh/base/random.ts'
import type { NodeCommand } from '../cli/io.ts'

export interface LabPorts {
  readonly clock: Clock
  readonly random: Random
  /** What runs the routers. */
  readonly node: NodeCommand
  /** Where programs are found: the environment of those that the lab starts holds nothing else of ours. */
  readonly searchPath: string
  readonly signal: AbortSignal
  /** Tells what is being done now; shown when it takes a while. */
  step(text: string): void
}
