/** Looks for a run in which the voters of Paxos go wrong: `node test/mutants/hunt-paxos.ts RUNS`. Prints the shortest one found; exit code 1 when there is none. */
import fc from 'fast-check'
import { paxosAgrees } from '../support/paxos-model.ts'

const found = fc.check(paxosAgrees, { numRuns: Number(process.argv[2]), seed: 1 })
if (found.failed) {
  const [first] = found.counterexample ?? []
  const actions = found.counterexample?.[1].length
  const reason = found.errorInstance instanceof Error ? found.errorInstance.message : String(found.errorInstance)
  process.stdout.write(`run ${found.numRuns}, ${first} voters, ${actions} actions: ${reason}\n`)
}
process.exit(found.failed ? 0 : 1)
