/** A machine without processor to spare: what the kernel defers then comes late. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'

/** Keeps every processor busy until disposed, or until this process is gone. */
export function makeBusy(): AsyncDisposable {
  const burners = Array.from({ length: availableParallelism() }, burn)
  return {
    async [Symbol.asyncDispose]() {
      await Promise.all(
        burners.map(async (child) => {
          const ended = once(child, 'exit')
          child.kill('SIGKILL')
          await ended
        }),
      )
    },
  }
}

function burn(): ChildProcess {
  return spawn('setpriv', ['--pdeathsig', 'KILL', 'sh', '-c', 'while :; do :; done'], { stdio: 'ignore' })
}
