/** Where `weft` begins: the only file of the product that touches the process it runs in. */
import type { CliIo } from './cli/io.ts'
import { runCli } from './cli/program.ts'

const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => stop.abort(new Error(`stopped by ${signal}`)))
}
// A reader that has gone (`weft report | head`) is no fault of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
})

const io: CliIo = {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  exitWith: (code) => {
    process.exitCode = code
  },
  env: process.env,
  node: { path: process.execPath, flags: process.execArgv, compileCache: process.env['NODE_COMPILE_CACHE'] },
  signal: stop.signal,
}

await runCli(process.argv.slice(2), io)
