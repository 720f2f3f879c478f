/** Runs a program of the machine (`ip`, `nft`, `nsenter`, a CNI plugin) and hands back what it said. */
import { spawn } from 'node:child_process'
import { type Millis, seconds } from '../../mesh/base/brand.ts'
import { deadline } from '../../mesh/base/clock.ts'
import { errnoCode, WeftError } from '../../mesh/base/errors.ts'

/** None of these programs has more to say. */
const OUTPUT_BYTES_MAX = 8 * 1024 * 1024
const TAKES_AT_MOST = seconds(60)

export interface ToolOptions {
  readonly stdin?: string
  /** The whole environment; ours when absent. */
  readonly env?: Readonly<Record<string, string>>
  readonly takesAtMost?: Millis
}

export interface ToolOutput {
  /** The exit code, or the signal that ended it. */
  readonly status: number | string
  readonly stdout: string
  readonly stderr: string
}

/** @throws {WeftError} MISSING when there is no such program, KERNEL when it took too long or said too much. */
export async function runTool(command: string, words: readonly string[], options: ToolOptions = {}): Promise<ToolOutput> {
  const { stdin = '', env, takesAtMost = TAKES_AT_MOST } = options
  const child = spawn(command, words, {
    stdio: 'pipe',
    signal: deadline(takesAtMost),
    killSignal: 'SIGKILL',
    ...(env === undefined ? {} : { env: { ...env } }),
  })
  const ended = new Promise<number | string>((resolve, reject) => {
    child.once('error', (cause) => reject(startFailure(command, cause, takesAtMost)))
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'no exit code'))
  })
  // A program that does not read its input is free to: its exit code tells how it went.
  child.stdin.on('error', () => undefined)
  child.stdin.end(stdin)
  try {
    const [status, stdout, stderr] = await Promise.all([ended, collect(child.stdout, command), collect(child.stderr, command)])
    return { status, stdout, stderr }
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  }
}

/** Its standard output. @throws {WeftError} KERNEL with what it said on standard error when it did not exit with 0. */
export async function mustRun(command: string, words: readonly string[], options: ToolOptions = {}): Promise<string> {
  const { status, stdout, stderr } = await runTool(command, words, options)
  if (status === 0) return stdout
  throw new WeftError('KERNEL', `\`${[command, ...words].join(' ')}\` ended with ${status}: ${stderr.trim()}`)
}

function startFailure(command: string, cause: Error, takesAtMost: Millis): WeftError {
  if (errnoCode(cause) === 'ENOENT')
    return new WeftError('MISSING', `there is no program \`${command}\` here`, { cause, hint: 'install it' })
  if (cause.name === 'AbortError') return new WeftError('KERNEL', `\`${command}\` did not end in ${takesAtMost / 1_000} s`, { cause })
  return new WeftError('KERNEL', `cannot run \`${command}\``, { cause })
}

async function collect(stream: AsyncIterable<Buffer>, command: string): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of stream) {
    bytes += chunk.length
    if (bytes > OUTPUT_BYTES_MAX) throw new WeftError('KERNEL', `\`${command}\` says more than ${OUTPUT_BYTES_MAX} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
