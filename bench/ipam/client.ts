/** Asks a router for addresses as the plugin does: a connection to its CNI socket for each call, in the relay's words. */
import { connect } from 'node:net'
import { z } from 'zod'
import { WeftError } from '../../mesh/base/errors.ts'
import { IPAM_TYPE } from '../../plugin/conflist.ts'

/** Any plugin that is not ours, and so only wants an address. */
const CONFIGURATION = JSON.stringify({ cniVersion: '1.0.0', name: 'bench', type: 'bench', ipam: { type: IPAM_TYPE } })

/** As long as containerd's. */
const CONTAINER_ID_DIGITS = 64

export function containerId(number: number): string {
  return number.toString(16).padStart(CONTAINER_ID_DIGITS, '0')
}

const reservedSchema = z.object({ ips: z.tuple([z.object({ address: z.string() })]) })

/** @throws {WeftError} with the router's answer when that is no address. */
export async function allocate(socketPath: string, id: string): Promise<string> {
  const { exitCode, stdout } = await call(socketPath, 'ADD', id)
  if (exitCode !== 0) throw refused('ADD', stdout)
  return reservedSchema.parse(JSON.parse(stdout)).ips[0].address
}

/** @throws {WeftError} */
export async function free(socketPath: string, id: string): Promise<void> {
  const { exitCode, stdout } = await call(socketPath, 'DEL', id)
  if (exitCode !== 0) throw refused('DEL', stdout)
}

function refused(operation: string, stdout: string): WeftError {
  return new WeftError('STATE', `${operation} of an address failed: ${stdout.trim()}`)
}

export interface Answer {
  readonly exitCode: number
  readonly stdout: string
}

async function call(socketPath: string, operation: 'ADD' | 'DEL', id: string): Promise<Answer> {
  const env = { CNI_COMMAND: operation, CNI_CONTAINERID: id, CNI_IFNAME: 'eth0', CNI_NETNS: '/run/netns/bench', CNI_PATH: '/opt/cni/bin' }
  return parseAnswer(await talk(socketPath, `${JSON.stringify({ env, stdin: CONFIGURATION })}\n`))
}

/** All that comes until the router closes. */
function talk(socketPath: string, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    const socket = connect(socketPath, () => socket.write(request))
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    socket.once('error', reject)
    socket.once('close', () => resolve(Buffer.concat(chunks).toString()))
  })
}

/** @throws {WeftError} INPUT when it is not `EXIT-CODE SP LENGTH LF` and so many bytes. */
export function parseAnswer(text: string): Answer {
  const [, code, length, stdout = ''] = /^(\d+) (\d+)\n([\s\S]*)$/.exec(text) ?? []
  if (code === undefined || Number(length) !== Buffer.byteLength(stdout)) {
    throw new WeftError('INPUT', `not an answer of the router: ${JSON.stringify(text)}`)
  }
  return { exitCode: Number(code), stdout }
}
