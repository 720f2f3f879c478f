/** Runs a person's command inside a host or pod of a lab, on the person's terminal. */
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { errnoCode, WeftError } from '../../mesh/base/errors.ts'
import type { Member } from './lab.ts'
import type { LabName } from './names.ts'
import { commandDirectory, namespacePath } from './paths.ts'

export interface ExecOptions {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly searchPath: string
  readonly signal: AbortSignal
}

/** The command's exit code, or 128 and the number of the signal that ended it, as shells have it. */
export async function execIn(lab: LabName, member: Member, words: readonly string[], options: ExecOptions): Promise<number> {
  const { env, searchPath, signal } = options
  const child = spawn('nsenter', [`--net=${namespacePath(member.namespace)}`, '--', ...words], {
    stdio: 'inherit',
    env: { ...env, PATH: `${commandDirectory(lab)}:${searchPath}`, WEFT_SOCKET: member.apiSocket },
  })
  // A terminal tells the command of Ctrl-C by itself; a signal that came to us alone has to be passed on.
  const pass = (): void => {
    child.kill('SIGTERM')
  }
  signal.addEventListener('abort', pass, { once: true })
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', (cause) => {
        const missing = errnoCode(cause) === 'ENOENT'
        reject(new WeftError(missing ? 'MISSING' : 'KERNEL', 'cannot run `nsenter`', { cause, hint: 'install util-linux' }))
      })
      child.once('close', (code, ending) => resolve(code ?? 128 + (ending === null ? 0 : constants.signals[ending])))
    })
  } finally {
    signal.removeEventListener('abort', pass)
  }
}
