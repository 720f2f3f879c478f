/** Looks for a seed with which the mesh goes wrong: `node test/mutants/hunt.ts SEEDS`. Prints the seed and what went wrong; exit code 1 when none did. */
import { chaos } from '../support/sim/chaos.ts'

const seeds = Number(process.argv[2])
for (let seed = 1; seed <= seeds; seed += 1) {
  const { violations } = await chaos(seed)
  if (violations.length > 0) {
    process.stdout.write(`seed ${seed}: ${violations[0]}\n`)
    process.exit(0)
  }
}
process.exit(1)
