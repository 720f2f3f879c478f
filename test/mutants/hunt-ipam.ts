/**
 * Looks for a seed with which the addresses of a cluster go wrong: `node test/mutants/hunt-ipam.ts SEEDS [FIRST]`. Prints
 * the seed and what went wrong; exit code 1 when none did.
 */
import { ipamChaos } from '../support/sim/ipam-chaos.ts'

const [seeds, first] = [Number(process.argv[2]), Number(process.argv[3] ?? 1)]
for (let seed = first; seed < first + seeds; seed += 1) {
  const { violations } = await ipamChaos(seed)
  if (violations.length > 0) {
    process.stdout.write(`seed ${seed}: ${violations[0]}\n`)
    process.exit(0)
  }
}
process.exit(1)
