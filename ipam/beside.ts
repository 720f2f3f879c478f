/** Small files beside the journal, each replaced as a whole. */
import { WeftError } from '../mesh/base/errors.ts'
import type { Disk } from './disk.ts'

/**
 * The file of this name, which is the caller's to dispose of.
 * @throws {WeftError} STATE
 */
export function openBeside(disk: Disk, name: string): Disk {
  try {
    return disk.beside(name)
  } catch (cause) {
    throw new WeftError('STATE', `cannot open ${name} beside ${disk.path}`, { cause, hint: 'it must be a file that we may read and write' })
  }
}
