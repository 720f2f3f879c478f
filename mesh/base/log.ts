/** The logger that parts take. Fixed message, data in fields; `error` = a person must act, `warn` = we recovered. */

/** The one list of field names, so that a log can be searched. */
export interface LogFields {
  readonly peer?: string
  readonly address?: string
  readonly reason?: string
  readonly containerId?: string
  readonly ifname?: string
  readonly range?: string
  readonly count?: number
  readonly path?: string
  readonly link?: string
  readonly operation?: string
  readonly durationMs?: number
}

/** What we use of pino's logger. */
export interface Logger {
  debug(fields: LogFields, message: string): void
  info(fields: LogFields, message: string): void
  warn(fields: LogFields, message: string): void
  error(fields: LogFields, message: string): void
  child(fields: LogFields): Logger
}

/** Says nothing. */
export const silentLog: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
}
