/** What a command may use of the process it runs in; `router/main.ts` has the only real one. */

/** The Node that runs us, to start others of our processes in the same way. */
export interface NodeCommand {
  readonly path: string
  readonly flags: readonly string[]
  /** NODE_COMPILE_CACHE: where compiled code is kept, so that a process starts sooner and smaller. */
  readonly compileCache: string | undefined
}

export interface CliIo {
  /** Standard output: what was asked for. */
  out(text: string): void
  /** Standard error: progress and problems. */
  err(text: string): void
  /** The exit code of the process, unless an error sets another. */
  exitWith(code: number): void
  readonly env: Readonly<Record<string, string | undefined>>
  readonly node: NodeCommand
  /** Aborts on SIGINT and SIGTERM. */
  readonly signal: AbortSignal
}
