/** Where a router keeps its things, unless told otherwise. */
import { join } from 'node:path'

/** Identity, address journal, known peers: survives reboots. */
export const DEFAULT_STATE_DIRECTORY = '/var/lib/weft'

/** Sockets: gone with the machine. */
export const DEFAULT_RUN_DIRECTORY = '/run/weft'

export const apiSocketPath = (runDirectory: string): string => join(runDirectory, 'api.sock')
export const cniSocketPath = (runDirectory: string): string => join(runDirectory, 'cni.sock')
export const DEFAULT_API_SOCKET: string = apiSocketPath(DEFAULT_RUN_DIRECTORY)

export const identityPath = (stateDirectory: string): string => join(stateDirectory, 'identity.key')
/** Why the identity is not the one that the state directory began with, if it is not. */
export const formerNamePath = (stateDirectory: string): string => join(stateDirectory, 'former-name.json')
/** The secret of the cluster. */
export const secretPath = (stateDirectory: string): string => join(stateDirectory, 'secret')
/** Records of peers that were known: a cache. */
export const knownPeersPath = (stateDirectory: string): string => join(stateDirectory, 'peers.json')
export const ipamDirectory = (stateDirectory: string): string => join(stateDirectory, 'ipam')
/** DELs that came while no router ran. */
export const pendingDirectory = (stateDirectory: string): string => join(stateDirectory, 'pending')
