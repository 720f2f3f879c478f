/** Where a lab keeps its things. */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { CONFLIST_NAME } from '../../plugin/conflist.ts'
import { apiSocketPath, cniSocketPath, identityPath, pendingDirectory, secretPath } from '../cli/paths.ts'
import type { HostName, LabName, PodName } from './names.ts'

/** One directory per lab; gone with the machine, like the namespaces. */
export const LABS_DIRECTORY = '/run/weft-lab'

/** Where `ip netns` mounts namespaces. */
export const NAMESPACES_DIRECTORY = '/run/netns'

/** What the routers and the `weft` of `lab exec` run. */
export const WEFT_MAIN: string = fileURLToPath(new URL('../main.ts', import.meta.url))

/** Where the container runtime of the lab finds plugins. */
export const PLUGIN_DIRECTORY: string = fileURLToPath(new URL('../../build/', import.meta.url))

/** What a bad cable is made of. */
export const MIDDLEBOX: string = fileURLToPath(new URL('../../build/weft-middlebox', import.meta.url))

export function namespacePath(namespace: string): string {
  return join(NAMESPACES_DIRECTORY, namespace)
}

export function labDirectory(lab: LabName): string {
  return join(LABS_DIRECTORY, lab)
}

export function labFile(lab: LabName): string {
  return join(labDirectory(lab), 'lab.json')
}

/** Holds a `weft` that runs this very Weft. */
export function commandDirectory(lab: LabName): string {
  return join(labDirectory(lab), 'bin')
}

/** The places of one host of a lab. */
export interface HostPaths {
  readonly directory: string
  /** The router's --state-dir. */
  readonly state: string
  readonly identity: string
  readonly secret: string
  /** The router's --run-dir. */
  readonly run: string
  readonly apiSocket: string
  readonly cniSocket: string
  /** Where the plugin queues DELs while the router is down. */
  readonly pending: string
  /** All that the router has printed, over all its starts. */
  readonly log: string
  /** Which process the router is. */
  readonly router: string
  readonly conflist: string
  /** One file per pod: what the container runtime knows of it. */
  readonly pods: string
  /** What the middlebox of its cable has counted, and what it said when it failed. */
  readonly counters: string
  readonly middleboxLog: string
}

export function hostPaths(lab: LabName, host: HostName): HostPaths {
  const directory = join(labDirectory(lab), `host-${host}`)
  const run = join(directory, 'run')
  const state = join(directory, 'state')
  return {
    directory,
    state,
    identity: identityPath(state),
    secret: secretPath(state),
    run,
    apiSocket: apiSocketPath(run),
    cniSocket: cniSocketPath(run),
    pending: pendingDirectory(state),
    log: join(directory, 'router.log'),
    router: join(directory, 'router.json'),
    conflist: join(directory, CONFLIST_NAME),
    pods: join(directory, 'pods'),
    counters: join(directory, 'middlebox.counters'),
    middleboxLog: join(directory, 'middlebox.log'),
  }
}

export function podFile(lab: LabName, host: HostName, pod: PodName): string {
  return join(hostPaths(lab, host).pods, `${pod}.json`)
}
