/** Options that commands of the lab have in common. */
import { Command, InvalidArgumentError } from 'commander'
import type { Result } from '../../mesh/base/result.ts'
import { type LabName, parseLabName } from './names.ts'

export interface LabOptions {
  readonly name: LabName
  readonly json?: boolean
}

export function labOptions(command: string, description: string): Command {
  return nameOption(new Command(command).description(description)).option('--json', 'print JSON')
}

export function nameOption(command: Command, fallback = 'lab'): Command {
  return command.option('--name <lab>', 'which lab', (text) => parseLabName(text), parseLabName(fallback))
}

export function whole(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN
    if (value >= min && value <= max) return value
    throw new InvalidArgumentError(`not a whole number from ${min} to ${max}`)
  }
}

/** Entries with commas between them, each by `parse`. */
export function list<T>(parse: (text: string) => T): (text: string) => readonly T[] {
  return (text) => text.split(',').map(parse)
}

/** As commander wants it. */
export function orInvalid<T>(parse: (text: string) => Result<T, string>): (text: string) => T {
  return (text) => {
    const parsed = parse(text)
    if (parsed.ok) return parsed.value
    throw new InvalidArgumentError(parsed.error)
  }
}
