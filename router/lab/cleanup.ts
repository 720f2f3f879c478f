/**
 * Removes a lab, whatever state it is in: finished, half-made, or with its files lost. What belongs to it is found by
 * the names of its namespaces and by its directory, not by what a file says should be there.
 */
import { readdir, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { errnoCode, WeftError } from '../../mesh/base/errors.ts'
import { isLabName, type LabName, namespacePrefix } from './names.ts'
import { LABS_DIRECTORY, labDirectory, NAMESPACES_DIRECTORY } from './paths.ts'
import { isAlive, killProcesses, processesIn } from './processes.ts'
import { type ProcessIdentity, readRouter } from './state.ts'
import { removeNamespaces } from './underlay.ts'

/** A process may start another one while it is being killed; one that does so faster is not ours to fight. */
const ROUNDS_MAX = 5

/** True when there was something to remove. @throws {WeftError} KERNEL when something cannot be removed. */
export async function removeLab(lab: LabName): Promise<boolean> {
  const namespaces = await namespacesOf(lab)
  const hadDirectory = (await entries(LABS_DIRECTORY)).includes(lab)
  await killAll(lab, namespaces)
  await removeNamespaces(namespaces)
  const left = await namespacesOf(lab)
  if (left.length > 0) throw new WeftError('KERNEL', `these network namespaces cannot be removed: ${left.join(', ')}`)
  await rm(labDirectory(lab), { recursive: true, force: true })
  // The last lab takes the common directory with it; whoever makes another one at this moment makes it again.
  await rmdir(LABS_DIRECTORY).catch(() => undefined)
  return namespaces.length > 0 || hadDirectory
}

/** The labs on this machine: those that have a directory, which is made before all else and removed last. */
export async function labNames(): Promise<readonly LabName[]> {
  return (await entries(LABS_DIRECTORY)).filter(isLabName).toSorted()
}

/** Also those that nothing but their name tells of. */
export async function namespacesOf(lab: LabName): Promise<readonly string[]> {
  return (await entries(NAMESPACES_DIRECTORY)).filter((name) => name.startsWith(namespacePrefix(lab)))
}

async function killAll(lab: LabName, namespaces: readonly string[]): Promise<void> {
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const processes = [...(await processesIn(namespaces)), ...(await recordedRouters(lab))]
    if (processes.length === 0) return
    await killProcesses(processes)
  }
  throw new WeftError('KERNEL', `processes keep starting in the namespaces of lab ${lab}`)
}

/** Routers whose namespace has lost its name live on in it: their records tell of them. */
async function recordedRouters(lab: LabName): Promise<readonly ProcessIdentity[]> {
  const directories = (await entries(labDirectory(lab))).filter((entry) => entry.startsWith('host-'))
  const found: ProcessIdentity[] = []
  for (const directory of directories) {
    const record = await readRouter(join(labDirectory(lab), directory, 'router.json'))
    if (record.ok && (await isAlive(record.value.identity))) found.push(record.value.identity)
  }
  return found
}

async function entries(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory)
  } catch (error) {
    if (errnoCode(error) === 'ENOENT' || errnoCode(error) === 'ENOTDIR') return []
    throw error
  }
}
