/** The simulator finds what it is for: every fault that is planted in a copy of the mesh, within 200 seeds. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { MUTANTS } from './mutants.ts'
import { plant } from './plant.ts'

const run = promisify(execFile)
const SEEDS = 200
const FOLDERS = ['mesh', 'test/support', 'test/mutants']

test.each(MUTANTS)(
  '$name: found',
  async (mutant) => {
    await using planted = await plant(mutant, FOLDERS)
    const { stdout } = await run(process.execPath, [join(planted.path, 'test/mutants/hunt.ts'), String(SEEDS)], { timeout: 240_000 })
    expect(stdout).toMatch(/^seed \d+: /)
  },
  300_000,
)
