/**
 * What is left after a crash: for any changes, with the process or the power gone in the midst of any system call, and
 * any tail torn, the state that comes back is that of some of the changes in order, with every one that was told of.
 */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Disk, openDiskWith, VOTE_FILE } from '../../../ipam/disk.ts'
import { encodeHeader, type JournalRecord, scanJournal } from '../../../ipam/journal.ts'
import { Ledger } from '../../../ipam/ledger.ts'
import type { Vote } from '../../../ipam/paxos.ts'
import type { RingDelta } from '../../../ipam/ring-codec.ts'
import { ringDigest } from '../../../ipam/ring-digest.ts'
import { seedRing } from '../../../ipam/seed.ts'
import { openStore } from '../../../ipam/store.ts'
import { decodeVote, encodeVote } from '../../../ipam/vote.ts'
import { parseCidr } from '../../../mesh/base/address.ts'
import { concatBytes, toHex } from '../../../mesh/base/bytes.ts'
import { seededRandom } from '../../../mesh/base/random.ts'
import { key, peer } from '../../support/ipam.ts'
import { MemoryDisk, systemError } from '../../support/memory-disk.ts'
import { type FileCall, SimFiles } from '../../support/sim-files.ts'

const [SELF, OTHER, THIRD] = [peer('a'), peer('b'), peer('c')]
const HEADER = { peer: SELF, universe: parseCidr('10.32.0.0/26'), cluster: 'blue' }
const JOURNAL = '/state/ipam.journal'

function ledgerOf(self: typeof SELF, disk: Disk): Ledger {
  const header = { ...HEADER, peer: self }
  const { store, records, isDamaged } = openStore(disk, header)
  const ledger = new Ledger(self, HEADER.universe, store, records)
  if (isDamaged) ledger.doubt(true)
  else ledger.repair()
  return ledger
}

/** All that matters, but for the doubt. */
function stateOf(ledger: Ledger): string {
  return JSON.stringify([toHex(ringDigest(HEADER.universe, ledger.ring)), [...ledger.allocations].sort()])
}

function stateAfter(records: readonly JournalRecord[]): string {
  return stateOf(new Ledger(SELF, HEADER.universe, openStore(new MemoryDisk().open(), HEADER).store, records))
}

/** What the journal was told to hold: `written` in order, of which the first `told` were told of, and `durable` are to survive a power loss. */
class Account {
  written: JournalRecord[] = []
  told = 0
  durable = 0
  /** Of a replacement of which nobody knows whether it happened. */
  instead: readonly JournalRecord[] | undefined

  /** Every state that may come back. */
  possible(ending: 'kill' | 'power loss'): ReadonlySet<string> {
    const least = ending === 'kill' ? this.told : this.durable
    const prefixes = Array.from({ length: this.written.length - least + 1 }, (_, index) => this.written.slice(0, least + index))
    return new Set([...prefixes, ...(this.instead === undefined ? [] : [this.instead])].map(stateAfter))
  }
}

/** Notes what passes through the seam. */
function noting(disk: Disk, account: Account): Disk {
  const decode = (bytes: Uint8Array): readonly JournalRecord[] => scanJournal(concatBytes([encodeHeader(HEADER), bytes])).records
  return {
    path: disk.path,
    read: () => disk.read(),
    append(bytes) {
      account.written.push(...decode(bytes))
      disk.append(bytes)
    },
    sync() {
      disk.sync()
      account.durable = account.written.length
    },
    replace(bytes) {
      account.instead = scanJournal(bytes).records
      disk.replace(bytes)
      account.written = [...account.instead]
      account.instead = undefined
      account.told = account.written.length
      account.durable = account.written.length
    },
    truncate(size) {
      disk.truncate(size)
      account.written.length = account.told
      account.durable = account.told
    },
    keepDamaged: (bytes) => disk.keepDamaged(bytes),
    beside: (name) => disk.beside(name),
    [Symbol.dispose]: () => disk[Symbol.dispose](),
  }
}

type Step =
  | { readonly kind: 'allocate' | 'release'; readonly pod: number }
  | { readonly kind: 'grant' | 'gain' | 'rumour' }
  | { readonly kind: 'fail'; readonly call: FileCall; readonly code: string }
  | { readonly kind: 'work' }

/** What must be on the device before anybody hears of it. */
const OWNERSHIP: ReadonlySet<Step['kind']> = new Set(['grant', 'gain'])

const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('allocate' as const), pod: fc.nat(7) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('release' as const), pod: fc.nat(7) }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('grant' as const, 'gain' as const, 'rumour' as const) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('fail' as const),
        call: fc.constantFrom<FileCall>('write', 'sync', 'open', 'rename', 'truncate', 'sync directory'),
        code: fc.constantFrom('ENOSPC', 'EIO', 'EROFS'),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('work' as const) }) },
  ),
  { maxLength: 30 },
)

const lives = fc.array(fc.record({ steps, diesAfter: fc.nat(60), ending: fc.constantFrom('kill' as const, 'power loss' as const) }), {
  minLength: 1,
  maxLength: 4,
})

/** Does one thing. True when it was told to have happened, on the disk. */
function perform(step: Step, files: SimFiles, { ledger, other }: { readonly ledger: Ledger; readonly other: Ledger }): boolean {
  switch (step.kind) {
    case 'allocate':
      return ledger.allocate(key(step.pod)).ok
    case 'release':
      return ledger.release(key(step.pod)).unwritten === undefined
    case 'grant': {
      const granted = ledger.grant(THIRD)
      if (granted.ok && granted.value !== undefined) other.merge(granted.value)
      return granted.ok
    }
    case 'gain':
      return heard(ledger, other.grant(SELF))
    case 'rumour':
      return heard(ledger, other.grant(THIRD))
    case 'fail':
      files.fault = (call) => {
        if (call === step.call) throw systemError(step.code)
      }
      return true
    case 'work':
      files.fault = undefined
      return ledger.repair().ok
  }
}

function heard(ledger: Ledger, granted: ReturnType<Ledger['grant']>): boolean {
  const delta: RingDelta | undefined = granted.ok ? granted.value : undefined
  const merged = delta === undefined ? undefined : ledger.merge(delta)
  return merged === undefined || (merged.ok && merged.value.unwritten === undefined)
}

const wholeRing = seedRing(HEADER.universe, [SELF, OTHER])

/** A peer that shares the ring with us and whose disk is perfect. */
function otherLedger(): Ledger {
  const other = ledgerOf(OTHER, new MemoryDisk().open())
  other.seed(wholeRing)
  return other
}

interface Life {
  readonly steps: readonly Step[]
  readonly diesAfter: number
  readonly ending: 'kill' | 'power loss'
}

const seen = { torn: 0, failed: 0, amidst: 0 }

/** One disk, and the lives of the routers that have it one after the other. */
class Trial {
  readonly #files: SimFiles
  readonly #other = otherLedger()
  #allowed: ReadonlySet<string> | undefined

  constructor(seed: number) {
    this.#files = new SimFiles(seededRandom(seed))
  }

  live({ steps: planned, diesAfter, ending }: Life): void {
    const files = this.#files
    const account = new Account()
    const ledger = this.#begin(account)
    files.diesAfter = diesAfter
    for (const step of planned) if (!this.#did(step, ledger, account)) break
    if (files.isDead) seen.amidst += 1
    this.#allowed = account.possible(ending)
    files.end(ending)
    const left = scanJournal(files.contents(JOURNAL) ?? encodeHeader(HEADER)).end
    if (left !== 'whole') seen.torn += 1
    // A kill alone never looks like damage.
    if (ending === 'kill' && !ledger.inDoubt) expect(left).not.toBe('damaged')
  }

  #begin(account: Account): Ledger {
    const ledger = ledgerOf(SELF, noting(openDiskWith(this.#files.open(), '/state'), account))
    if (this.#allowed !== undefined) expect([...this.#allowed]).toContain(stateOf(ledger))
    // What was read counts as told, and is on the device.
    if (account.written.length === 0) account.written = [...recordsOf(this.#files)]
    account.durable = account.written.length
    if (ledger.ring === undefined) ledger.seed(wholeRing)
    account.told = account.written.length
    return ledger
  }

  /** False when the process has died. */
  #did(step: Step, ledger: Ledger, account: Account): boolean {
    const before = account.told
    const isTold = perform(step, this.#files, { ledger, other: this.#other })
    if (this.#files.isDead) return false
    const isWritten = ledger.fault === undefined
    if (isTold && isWritten) account.told = account.written.length
    else seen.failed += 1
    if (isTold && isWritten && account.told > before && OWNERSHIP.has(step.kind)) account.durable = account.told
    if (isWritten) expect(stateAfter(account.written.slice(0, account.told))).toBe(stateOf(ledger))
    return true
  }
}

test('whatever happens, and wherever it ends, what comes back is a beginning of it that has all that was told of', () => {
  fc.assert(
    fc.property(lives, fc.nat(), (all, seed) => {
      const trial = new Trial(seed)
      for (const life of all) trial.live(life)
    }),
    { seed: 1, numRuns: 1_500 },
  )
  expect(Math.min(...Object.values(seen))).toBeGreaterThan(100)
})

function recordsOf(files: SimFiles): readonly JournalRecord[] {
  return scanJournal(files.contents(JOURNAL) ?? new Uint8Array()).records
}

describe('one flipped bit, anywhere', () => {
  test('is never taken for another state: what comes back is a beginning, and it is known that more may be lost', () => {
    fc.assert(
      fc.property(steps, fc.nat(), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (planned, seed, at) => {
        const files = new SimFiles(seededRandom(seed))
        const ledger = ledgerOf(SELF, openDiskWith(files.open(), '/state'))
        ledger.seed(wholeRing)
        const other = otherLedger()
        for (const step of planned) perform(step, files, { ledger, other })
        files.fault = undefined
        ledger.repair()
        const good = files.contents(JOURNAL) ?? new Uint8Array()
        const records = recordsOf(files)
        const bit = Math.floor(at * good.length * 8)
        files.end('kill')
        files.overwrite(
          JOURNAL,
          good.map((byte, index) => (index === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte)),
        )
        const open = (): Ledger => ledgerOf(SELF, openDiskWith(files.open(), '/state'))
        if (bit >> 3 < encodeHeader(HEADER).length) {
          expect(open).toThrow(expect.objectContaining({ code: 'STATE', hint: expect.stringMatching(/.+/) }))
          return
        }
        const back = open()
        expect(back.inDoubt).toBe(true)
        expect(records.map((_, index) => stateAfter(records.slice(0, index)))).toContain(stateOf(back))
        // The doubt outlives the next crash, whether or not it had been written.
        files.end('power loss')
        expect(open().inDoubt).toBe(true)
      }),
      { seed: 1, numRuns: 1_000 },
    )
  })
})

test('a vote is the old one or the new one after a death in any call, and what was said of it is there, beside a journal that is written too', () => {
  const vote = (round: number): Vote => ({ promised: { round, proposer: SELF }, accepted: undefined })
  const roundIn = (disk: Disk): number => {
    const bytes = disk.read()
    const read = bytes === undefined ? undefined : decodeVote(SELF, HEADER.universe, bytes)
    if (read?.ok === false) throw new Error(read.error)
    return read?.value.promised?.round ?? 0
  }
  const seen = { old: 0, new: 0 }
  fc.assert(
    fc.property(
      fc.nat(),
      fc.integer({ min: 1, max: 30 }),
      fc.constantFrom('kill' as const, 'power loss' as const),
      (seed, diesAfter, ending) => {
        const files = new SimFiles(seededRandom(seed))
        let told = 0
        try {
          const journal = openDiskWith(files.open(), '/state')
          const ledger = ledgerOf(SELF, journal)
          const disk = journal.beside(VOTE_FILE)
          ledger.seed(wholeRing)
          files.diesAfter = diesAfter
          for (let round = 1; ; round++) {
            disk.replace(encodeVote(SELF, HEADER.universe, vote(round)))
            told = round
            ledger.allocate(key(round % 8))
          }
        } catch {
          expect(files.isDead).toBe(true)
        }
        files.end(ending)
        const round = roundIn(openDiskWith(files.open(), '/state').beside(VOTE_FILE))
        expect([told, told + 1]).toContain(round)
        seen[round === told ? 'old' : 'new'] += 1
      },
    ),
    { seed: 1, numRuns: 1_000 },
  )
  expect(Math.min(seen.old, seen.new)).toBeGreaterThan(50)
})

describe('what a change costs', () => {
  function counted(change: (ledger: Ledger) => unknown): readonly FileCall[] {
    const files = new SimFiles(() => 0.5)
    const ledger = ledgerOf(SELF, openDiskWith(files.open(), '/state'))
    ledger.seed(wholeRing)
    ledger.allocate(key(0))
    files.calls.length = 0
    change(ledger)
    return files.calls
  }

  test.each([
    { name: 'an allocation: one write', change: (ledger: Ledger) => ledger.allocate(key(1)), calls: ['write'] },
    { name: 'an allocation that is there already: nothing', change: (ledger: Ledger) => ledger.allocate(key(0)), calls: [] },
    { name: 'a release: one write', change: (ledger: Ledger) => ledger.release(key(0)), calls: ['write'] },
    {
      name: 'a grant: one write, and the device is waited for once',
      change: (ledger: Ledger) => ledger.grant(OTHER),
      calls: ['write', 'sync'],
    },
    {
      name: 'what we are given: one write, and the device is waited for once',
      change: (ledger: Ledger) => heard(ledger, otherLedger().grant(SELF)),
      calls: ['write', 'sync'],
    },
    {
      name: 'what others give each other: one write',
      change: (ledger: Ledger) => heard(ledger, otherLedger().grant(THIRD)),
      calls: ['write'],
    },
  ])('$name', ({ change, calls }) => {
    expect(counted(change)).toEqual(calls)
  })

  test('a rewrite: a new file, on the device before it takes the place of the old one, and its name too', () => {
    const files = new SimFiles(() => 0.5)
    const disk = openDiskWith(files.open(), '/state')
    disk.replace(Uint8Array.of(1))
    files.calls.length = 0
    disk.replace(Uint8Array.of(1, 2))
    expect(files.calls).toEqual(['open', 'write', 'sync', 'rename', 'sync directory'])
  })

  test('after a sync that failed no page of that file is trusted: the whole state goes to a new one', () => {
    const files = new SimFiles(() => 0.5)
    const ledger = ledgerOf(SELF, openDiskWith(files.open(), '/state'))
    ledger.seed(wholeRing)
    files.fault = (call) => {
      if (call === 'sync') throw systemError('EIO')
    }
    expect(ledger.grant(OTHER).ok).toBe(false)
    files.fault = undefined
    files.calls.length = 0
    expect(ledger.allocate(key(1)).ok).toBe(true)
    expect(files.calls).toEqual(['open', 'write', 'sync', 'rename', 'sync directory'])
  })
})

test('a disk that cannot be read is no empty disk: the router does not start, and says why', () => {
  const files = new SimFiles(() => 0.5)
  ledgerOf(SELF, openDiskWith(files.open(), '/state')).seed(wholeRing)
  const before = files.contents(JOURNAL)
  files.fault = (call) => {
    if (call === 'read') throw systemError('EIO')
  }
  expect(() => ledgerOf(SELF, openDiskWith(files.open(), '/state'))).toThrow(
    expect.objectContaining({ code: 'STATE', message: `cannot read or write ${JOURNAL}`, cause: expect.objectContaining({ code: 'EIO' }) }),
  )
  expect(files.contents(JOURNAL)).toEqual(before)
})
