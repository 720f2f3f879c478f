/** The log: pino, JSON lines on standard error, written at once so that nothing is lost in a crash. */
import { destination, pino } from 'pino'
import type { Logger } from '../mesh/base/log.ts'
import type { LogLevel } from './config.ts'

const STDERR = 2

export function createLog(level: LogLevel, nickname: string): Logger {
  return pino({ level, base: { node: nickname } }, destination({ dest: STDERR, sync: true }))
}
