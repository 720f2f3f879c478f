/** The simulator finds what it is for: every fault that is planted in a copy of the mesh, within 200 seeds. */
import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { MUTANTS, type Mutant } from './mutants.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)
const SEEDS = 200

/** A copy of what the simulator runs, with the fault in it; below `build`, so that packages are found. */
async function plant({ file, from, to }: Mutant): Promise<AsyncDisposable & { readonly path: string }> {
  await mkdir(join(root, 'build'), { recursive: true })
  const path = await mkdtemp(join(root, 'build', 'mutant-'))
  for (const folder of ['mesh', 'test/support', 'test/mutants']) await cp(join(root, folder), join(path, folder), { recursive: true })
  await cp(join(root, 'package.json'), join(path, 'package.json'))
  const source = await readFile(join(path, file), 'utf8')
  expect(source.split(from)).toHaveLength(2)
  await writeFile(join(path, file), source.replace(from, to))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) }
}

test.each(MUTANTS)(
  '$name: found',
  async (mutant) => {
    await using planted = await plant(mutant)
    const { stdout } = await run(process.execPath, [join(planted.path, 'test/mutants/hunt.ts'), String(SEEDS)], { timeout: 240_000 })
    expect(stdout).toMatch(/^seed \d+: /)
  },
  300_000,
)
