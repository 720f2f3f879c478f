/** The packet filter and address translation, by the tool `nft`: whole rulesets in one transaction, lists as JSON. */
import { spawn } from 'node:child_process'
import { type Millis, seconds } from '../../mesh/base/brand.ts'
import { deadline } from '../../mesh/base/clock.ts'
import { errnoCode, WeftError } from '../../mesh/base/errors.ts'
import { err, ok, type Result } from '../../mesh/base/result.ts'

/**
 * - `refused`: the ruleset is wrong or the kernel lacks something; nothing of it was applied
 * - `absent`: what is named does not exist
 * - `late`: no answer within the deadline; whether it was applied is unknown
 */
export interface NftError {
  readonly code: 'refused' | 'absent' | 'late'
  /** What nft says, with the place in the ruleset. */
  readonly message: string
}

export interface NftOptions {
  /** Path of the namespace to work in, by `nsenter`; ours when absent. */
  readonly netns?: string
  readonly signal?: AbortSignal
}

/** The kernel takes a ruleset of ten thousand rules in a second or two. */
const ANSWER_WITHIN: Millis = seconds(30)

/** Longer error texts repeat themselves. */
const MESSAGE_CHARACTERS_MAX = 4_000

/** A ruleset of 100,000 elements is a tenth of it. */
const OUTPUT_BYTES_MAX = 256 * 1024 * 1024

/**
 * Equivalent to: `nft -f - < RULESET`. All of it is applied or nothing.
 * @throws {WeftError} MISSING when nft is not installed, CANCELLED when `signal` aborts.
 */
export async function applyRuleset(ruleset: string, options: NftOptions = {}): Promise<Result<void, NftError>> {
  const result = await run(['-f', '-'], ruleset, options)
  return result.ok ? ok(undefined) : result
}

/**
 * Equivalent to: `nft -j list WHAT…` (`['table', 'inet', 'weft']`): the objects in nft's own JSON (libnftables-json(5)).
 * @throws {WeftError} MISSING when nft is not installed, CANCELLED when `signal` aborts.
 */
export async function listRuleset(what: readonly string[], options: NftOptions = {}): Promise<Result<readonly unknown[], NftError>> {
  const result = await run(['-j', 'list', ...what], '', options)
  return result.ok ? parseList(result.value) : result
}

function parseList(text: string): Result<readonly unknown[], NftError> {
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed === 'object' && parsed !== null && 'nftables' in parsed && Array.isArray(parsed.nftables)) return ok(parsed.nftables)
  } catch {
    // Said below, together with JSON of another shape.
  }
  return err({ code: 'refused', message: `nft answered with something else than its JSON: ${text.slice(0, 200)}` })
}

interface Exit {
  readonly status: number | null
  readonly output: string
  readonly message: string
}

async function run(words: readonly string[], input: string, { netns, signal }: NftOptions): Promise<Result<string, NftError>> {
  const [command = 'nft', ...rest] = [...(netns === undefined ? [] : ['nsenter', `--net=${netns}`]), 'nft', ...words]
  try {
    const { status, output, message } = await spawned(command, rest, { input, signal: deadline(ANSWER_WITHIN, signal) })
    if (status === 0) return ok(output)
    return err({ code: message.includes('No such file or directory') ? 'absent' : 'refused', message })
  } catch (cause) {
    if (errnoCode(cause) === 'ENOENT') throw new WeftError('MISSING', `cannot run ${command}`, { cause, hint: 'apt-get install nftables' })
    if (signal?.aborted) throw new WeftError('CANCELLED', 'nft was stopped', { cause })
    if (cause instanceof Error && cause.name === 'AbortError') {
      return err({ code: 'late', message: `nft did not answer within ${ANSWER_WITHIN} ms` })
    }
    throw cause
  }
}

/** Rejects when it cannot be started, prints without end, or is killed by the signal. */
function spawned(
  command: string,
  words: readonly string[],
  options: { readonly input: string; readonly signal: AbortSignal },
): Promise<Exit> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, words, { stdio: 'pipe', signal: options.signal, killSignal: 'SIGKILL' })
    const output: Buffer[] = []
    let outputBytes = 0
    let message = ''
    child.on('error', reject)
    child.stdout.on('data', (part: Buffer) => {
      output.push(part)
      outputBytes += part.length
      if (outputBytes <= OUTPUT_BYTES_MAX) return
      child.kill('SIGKILL')
      reject(new WeftError('INPUT', `${command} printed more than ${OUTPUT_BYTES_MAX} bytes`))
    })
    child.stderr.setEncoding('utf8').on('data', (part: string) => {
      message = (message + part).slice(0, MESSAGE_CHARACTERS_MAX)
    })
    child.on('close', (status) => resolve({ status, output: Buffer.concat(output).toString('utf8'), message: message.trim() }))
    // It may refuse the ruleset before it has read all of it: then its exit code says so, not this pipe.
    child.stdin.on('error', () => undefined)
    child.stdin.end(options.input)
  })
}
