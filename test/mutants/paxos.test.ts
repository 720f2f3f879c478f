/** The property of Paxos finds what it is for: every fault that is planted in a copy of `ipam/paxos.ts`. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { type Mutant, plant } from './plant.ts'

const run = promisify(execFile)
const RUNS = 60_000
const file = 'ipam/paxos.ts'

const MUTANTS: readonly Mutant[] = [
  {
    name: 'what an acceptor says is not on its disk',
    file,
    from: "[next, [{ kind: 'persist', vote: next.vote }, ...effects]]",
    to: '[next, effects]',
  },
  {
    name: 'what an acceptor says is on its disk only after it was said',
    file,
    from: "[next, [{ kind: 'persist', vote: next.vote }, ...effects]]",
    to: "[next, [...effects, { kind: 'persist', vote: next.vote }]]",
  },
  { name: 'half of the voters are a quorum', file, from: 'Math.floor(voters / 2) + 1', to: 'Math.ceil(voters / 2)' },
  {
    name: 'a proposer ignores what was accepted before',
    file,
    from: 'highest([...promises.values()])?.seeds ?? ',
    to: '',
  },
  {
    name: 'a proposer takes what was accepted at the lowest ballot',
    file,
    from: 'compareBallots(one.ballot, best.ballot) > 0 ? one : best',
    to: 'compareBallots(one.ballot, best.ballot) < 0 ? one : best',
  },
  {
    name: 'a ballot is used again after a restart',
    file,
    from: 'vote: { ...state.vote, promised: ballot }, attempt }',
    to: 'attempt }',
  },
  {
    name: 'an acceptor forgets its promise when it is asked to accept',
    file,
    from: 'if (vote.promised !== undefined && compareBallots(ballot, vote.promised) < 0)',
    to: 'if (proposal === undefined && vote.promised !== undefined && compareBallots(ballot, vote.promised) < 0)',
  },
  {
    name: 'a proposer goes on though it has promised a higher ballot since',
    file,
    from: 'if (isOutdone || ',
    to: 'if (',
  },
  {
    name: 'a promise does not tell what was accepted',
    file,
    from: "{ kind: 'promise', ballot, accepted: vote.accepted }",
    to: "{ kind: 'promise', ballot, accepted: undefined }",
  },
]

test.each(MUTANTS)(
  '$name: found',
  async (mutant) => {
    await using planted = await plant(mutant, ['ipam', 'mesh', 'test/support', 'test/mutants'])
    const { stdout } = await run(process.execPath, [join(planted.path, 'test/mutants/hunt-paxos.ts'), String(RUNS)], { timeout: 240_000 })
    expect(stdout).toMatch(/^run \d+, /)
  },
  300_000,
)
