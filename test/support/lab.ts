/**
 * Labs for tests: a name of its own for each, removed on every exit path.
 *
 *     await using lab = await testLab()
 *     await lab.run('up', '--hosts', '2')
 *
 * They are named `tPIDlCOUNT`; those of a run that was killed are removed by the next one.
 */
import { execFile, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { labNames, removeLab } from '../../router/lab/cleanup.ts'
import { type LabName, parseLabName } from '../../router/lab/names.ts'

const MAIN = fileURLToPath(new URL('../../router/main.ts', import.meta.url))
const NAME = /^t(\d+)l\d+$/
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024

/** Longer than any command of a test; a stuck one is killed. */
const COMMAND_MS_MAX = 90_000

export interface CommandOutput {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

export interface TestLab extends AsyncDisposable {
  readonly name: LabName
  /** `weft lab COMMAND --name NAME WORDS…`, whatever comes of it. */
  run(command: string, ...words: readonly string[]): Promise<CommandOutput>
  /** The JSON document that it prints. Rejects with what it said when it exits with another code than 0. */
  json(command: string, ...words: readonly string[]): Promise<unknown>
}

const alive = new Set<LabName>()
let count = 0

export async function testLab(): Promise<TestLab> {
  if (count === 0) await prepare()
  count += 1
  const name = parseLabName(`t${process.pid}l${count}`)
  alive.add(name)
  const run = (command: string, ...words: readonly string[]): Promise<CommandOutput> =>
    weft('lab', ...command.split(' '), '--name', name, ...words)
  return {
    name,
    run,
    async json(command, ...words) {
      const { status, stdout, stderr } = await run(command, '--json', ...words)
      if (status !== 0) throw new Error(`weft lab ${command} ${words.join(' ')} exited with ${status}: ${stderr}${stdout}`)
      return JSON.parse(stdout) as unknown
    },
    async [Symbol.asyncDispose]() {
      await removeLab(name)
      alive.delete(name)
    },
  }
}

/** Runs the command line in a process of its own. */
export function weft(...words: readonly string[]): Promise<CommandOutput> {
  return new Promise((resolve, reject) => {
    const options = { maxBuffer: OUTPUT_BYTES_MAX, timeout: COMMAND_MS_MAX, killSignal: 'SIGKILL' } as const
    execFile(process.execPath, [MAIN, ...words], options, (error, stdout, stderr) => {
      if (error === null) resolve({ status: 0, stdout, stderr })
      else if (typeof error.code === 'number') resolve({ status: error.code, stdout, stderr })
      else reject(error)
    })
  })
}

async function prepare(): Promise<void> {
  for (const name of await labNames()) {
    const pid = NAME.exec(name)?.[1]
    if (pid !== undefined && !isRunning(Number(pid))) await removeLab(name)
  }
  process.once('exit', () => {
    for (const name of alive) spawnSync(process.execPath, [MAIN, 'lab', 'down', '--name', name], { stdio: 'ignore' })
  })
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
