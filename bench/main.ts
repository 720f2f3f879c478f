/** `npm run -s bench -- NAME`: measures Weft against its limit and its peers, in one run. */
import { cpus } from 'node:os'
import { Command, InvalidArgumentError } from 'commander'
import { describeError, WeftError } from '../mesh/base/errors.ts'
import { fastpath } from './fastpath.ts'
import { type Bench, renderTable } from './form.ts'
import { ipam } from './ipam.ts'
import { mesh } from './mesh.ts'
import { router } from './router.ts'

const BENCHES: readonly Bench[] = [fastpath, router, mesh, ipam]
const ROUNDS_MAX = 1_000

interface BenchOptions {
  readonly rounds?: number
  readonly quick?: boolean
  readonly json?: boolean
}

const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort(new Error(`stopped by ${signal}`)))

function parseRounds(text: string): number {
  const rounds = Number(text)
  if (!(Number.isInteger(rounds) && rounds >= 1 && rounds <= ROUNDS_MAX))
    throw new InvalidArgumentError(`a whole number from 1 to ${ROUNDS_MAX}.`)
  return rounds
}

async function measure(bench: Bench, options: BenchOptions): Promise<void> {
  const rows = await bench.run({
    rounds: options.rounds ?? (options.quick ? 1 : bench.rounds),
    quick: options.quick ?? false,
    progress: (text) => process.stderr.write(`${bench.name}: ${text}\n`),
    node: { path: process.execPath, flags: process.execArgv, compileCache: process.env['NODE_COMPILE_CACHE'] },
    searchPath: process.env['PATH'] ?? '',
    signal: stop.signal,
  })
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? 'unknown CPU'}`
  const result = { bench: bench.name, node: process.version, machine, rows }
  process.stdout.write(options.json ? `${JSON.stringify(result, undefined, 2)}\n` : renderTable(rows))
}

const program = new Command('bench')
  .description('Measures Weft. A ratio above 1 always means that Weft is better.')
  .showSuggestionAfterError()
for (const bench of BENCHES) {
  program
    .command(bench.name)
    .description(bench.about)
    .option('--rounds <n>', `how often each candidate is measured (default: ${bench.rounds})`, parseRounds)
    .option('--quick', 'one short round: to see that it runs')
    .option('--json', 'print one JSON object')
    .action((options: BenchOptions) => measure(bench, options))
}

try {
  await program.parseAsync()
} catch (error) {
  process.stderr.write(`bench: ${describeError(error)}\n`)
  if (error instanceof WeftError && error.hint !== undefined) process.stderr.write(`  hint: ${error.hint}\n`)
  process.exitCode = 1
}
