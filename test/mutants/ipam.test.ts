/** The simulator of whole routers finds what it is for: every fault that is planted in a copy of IPAM, within 200 seeds. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { IPAM_MUTANTS } from './ipam-mutants.ts'
import { plant } from './plant.ts'

const run = promisify(execFile)
const SEEDS = 200
const FOLDERS = ['ipam', 'mesh', 'test/support', 'test/mutants']

test.each(IPAM_MUTANTS)(
  '$name: found',
  async (mutant) => {
    await using planted = await plant(mutant, FOLDERS)
    const { stdout } = await run(process.execPath, [join(planted.path, 'test/mutants/hunt-ipam.ts'), String(SEEDS)], { timeout: 240_000 })
    expect(stdout).toMatch(/^seed \d+: /)
  },
  300_000,
)
