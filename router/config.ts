/** The configuration of a router: one table of options, read once, checked, frozen. `weft run --help` is made of it. */
import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { defaultRange6, rangeFault6, type Universe } from '../ipam/universe.ts'
import { type Cidr, type Ipv4, parseCidr, parseIpv4 } from '../mesh/base/address.ts'
import { WeftError } from '../mesh/base/errors.ts'
import { type Cidr6, parseCidr6 } from '../mesh/base/prefix.ts'
import { DEFAULT_RUN_DIRECTORY, DEFAULT_STATE_DIRECTORY } from './cli/paths.ts'

const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

export interface Config {
  readonly stateDirectory: string
  readonly runDirectory: string
  readonly nickname: string
  readonly cluster: string
  /** Where this node is, as its peers are told: nodes of one zone are near each other. */
  readonly zone: string | undefined
  /** The file with the secret of the cluster; undefined = the one in the state directory. */
  readonly secretFile: string | undefined
  /** The file with a passphrase that makes the secret. */
  readonly passphraseFile: string | undefined
  /** There is no secret. */
  readonly open: boolean
  readonly port: number
  readonly universe: Universe
  /** How the ring begins: see `parseIpamInit`. */
  readonly ipamInit: string
  /** The underlay address that peers use; undefined = found out. */
  readonly advertise: Ipv4 | undefined
  /** The MTU of the underlay; undefined = that of the interface with the underlay address. */
  readonly mtuBytes: number | undefined
  /** A file with certificates of authorities for `wss://` targets; undefined = those of the system alone. */
  readonly tlsAuthorities: string | undefined
  readonly logLevel: LogLevel
}

/** What a person says of the addresses of pods: `derived` from the id of the cluster when nothing is said of IPv6. */
interface Ranges extends Cidr {
  readonly v6: Cidr6 | 'derived' | 'none'
}

type Options = Omit<Config, 'universe'> & { readonly universe: Ranges }

interface OptionRow<T> {
  /** As commander takes it. */
  readonly flags: string
  readonly description: string
  /** Taken from the environment when the flag is not given; Weave Net's names where it had one. */
  readonly env?: string
  readonly fallback: () => T
  /** What --help says of the default; undefined = the fallback as text. */
  readonly fallbackText?: string
  /** @throws {RangeError} saying what the text is not. */
  readonly parse: (text: string) => T
}

/** Smaller ones cannot be shared out; larger ones are not private space. */
const RANGE_LENGTH_MIN = 8
const RANGE_LENGTH_MAX = 29

/** IPv4 requires every link to carry 576 bytes (RFC 791, section 3.2); Linux devices carry at most 65535. */
const MTU_BYTES_MIN = 576
const MTU_BYTES_MAX = 65_535

const PRINTABLE = /^[\x21-\x7e]{1,63}$/

export const OPTIONS: { readonly [K in keyof Options]: OptionRow<Options[K]> } = {
  stateDirectory: {
    flags: '--state-dir <dir>',
    description: 'identity, addresses, known peers: keep it across reboots',
    fallback: () => DEFAULT_STATE_DIRECTORY,
    parse: (text) => resolve(text),
  },
  runDirectory: {
    flags: '--run-dir <dir>',
    description: 'the sockets api.sock and cni.sock',
    fallback: () => DEFAULT_RUN_DIRECTORY,
    parse: (text) => resolve(text),
  },
  nickname: {
    flags: '--nickname <name>',
    description: 'what people call this node',
    fallback: () => hostname().slice(0, 63),
    fallbackText: 'the host name',
    parse: (text) => matching(text, PRINTABLE, 'a name of 1 to 63 printable characters'),
  },
  cluster: {
    flags: '--cluster <id>',
    description: 'peers of another cluster are refused',
    fallback: () => 'weft',
    parse: (text) => matching(text, PRINTABLE, 'a name of 1 to 63 printable characters'),
  },
  zone: {
    flags: '--zone <name>',
    description: 'where this node is (a rack, a data centre, a cloud); peers are told',
    fallback: () => undefined,
    fallbackText: 'unknown',
    parse: (text) => matching(text, PRINTABLE, 'a zone of 1 to 63 printable characters'),
  },
  secretFile: {
    flags: '--secret-file <file>',
    description: 'the secret of the cluster, as made by `weft keys generate`: the same on each node',
    fallback: () => undefined,
    fallbackText: '`secret` in the state directory',
    parse: (text) => resolve(text),
  },
  passphraseFile: {
    flags: '--passphrase-file <file>',
    description: 'instead of the secret, a passphrase, as the only line of this file',
    fallback: () => undefined,
    fallbackText: 'none',
    parse: (text) => resolve(text),
  },
  open: {
    flags: '--open',
    description: 'no secret: anybody who reaches the port may join the cluster',
    fallback: () => false,
    fallbackText: 'a secret is needed',
    parse: () => true,
  },
  port: {
    flags: '--port <number>',
    description: 'TCP port of the mesh',
    fallback: () => 6783,
    parse: (text) => wholeNumber(text, 1, 65_535),
  },
  universe: {
    flags: '--ipalloc-range <cidr,cidr6>',
    description:
      'the addresses of all pods of the cluster, the same on each node: a range of IPv4 and, after a comma, one of IPv6 of at least as many addresses, or `none`',
    env: 'IPALLOC_RANGE',
    fallback: () => parseRanges('10.32.0.0/12'),
    fallbackText: '10.32.0.0/12, and a /64 under fd00::/8 made from the id of the cluster',
    parse: parseRanges,
  },
  ipamInit: {
    flags: '--ipam-init <how>',
    description:
      'who shares out the range at the start: seed=NAME,NAME… (peers by name, or `self`; the same list on each), consensus=NUMBER (so many nodes say this and agree on who), or observer',
    env: 'IPALLOC_INIT',
    fallback: () => '',
    fallbackText: 'wait for the ring of another peer',
    parse: (text) => text,
  },
  advertise: {
    flags: '--advertise <address>',
    description: 'the IPv4 address of this node that its peers use',
    fallback: () => undefined,
    fallbackText: 'the one towards the default route, or else the first',
    parse: parseIpv4,
  },
  mtuBytes: {
    flags: '--mtu <bytes>',
    description: 'the MTU of the network between nodes',
    env: 'WEAVE_MTU',
    fallback: () => undefined,
    fallbackText: "the interface's",
    parse: (text) => wholeNumber(text, MTU_BYTES_MIN, MTU_BYTES_MAX),
  },
  tlsAuthorities: {
    flags: '--tls-ca <file>',
    description: 'certificates (PEM) of authorities to trust for wss:// peers, besides those of the system',
    fallback: () => undefined,
    fallbackText: 'none',
    parse: (text) => resolve(text),
  },
  logLevel: {
    flags: '--log-level <level>',
    description: LOG_LEVELS.join(', '),
    fallback: () => 'info',
    parse: parseLogLevel,
  },
}

/**
 * @param given the text of each option that was given, by its key; `env` is asked for the others.
 * @throws {WeftError} USAGE that names the option.
 */
export function parseConfig(
  given: Readonly<Partial<Record<keyof Config, string>>>,
  env: Readonly<Record<string, string | undefined>>,
): Config {
  const read = <K extends keyof Options>(key: K): Options[K] => {
    const row: OptionRow<Options[K]> = OPTIONS[key]
    const fromEnv = row.env === undefined ? undefined : env[row.env]
    const text = given[key] ?? (fromEnv === '' ? undefined : fromEnv)
    if (text === undefined) return row.fallback()
    try {
      return row.parse(text)
    } catch (cause) {
      const source = given[key] === undefined ? `${row.env}` : row.flags.replace(/ .*/, '')
      throw new WeftError('USAGE', `${source}: ${cause instanceof Error ? cause.message : String(cause)}`, {
        hint: 'see `weft run --help`',
      })
    }
  }
  const sources = (['secretFile', 'passphraseFile', 'open'] as const).filter((key) => given[key] !== undefined)
  if (sources.length > 1) {
    const flags = sources.map((key) => OPTIONS[key].flags.replace(/ .*/, ''))
    throw new WeftError('USAGE', `${flags.join(' and ')} exclude each other`, { hint: 'see `weft run --help`' })
  }
  const cluster = read('cluster')
  return Object.freeze({
    stateDirectory: read('stateDirectory'),
    runDirectory: read('runDirectory'),
    nickname: read('nickname'),
    cluster,
    zone: read('zone'),
    secretFile: read('secretFile'),
    passphraseFile: read('passphraseFile'),
    open: read('open'),
    port: read('port'),
    universe: universeOf(read('universe'), cluster),
    ipamInit: read('ipamInit'),
    advertise: read('advertise'),
    mtuBytes: read('mtuBytes'),
    tlsAuthorities: read('tlsAuthorities'),
    logLevel: read('logLevel'),
  })
}

function parseRanges(text: string): Ranges {
  const [first = '', second, more] = text.split(',')
  const v4 = parseCidr(first)
  if (v4.length < RANGE_LENGTH_MIN || v4.length > RANGE_LENGTH_MAX) {
    throw new RangeError(`a cluster range is a /${RANGE_LENGTH_MIN} to a /${RANGE_LENGTH_MAX}, not ${first}`)
  }
  if (more !== undefined) throw new RangeError(`not one range of each family: ${JSON.stringify(text)}`)
  if (second === undefined) return { ...v4, v6: 'derived' }
  if (second === 'none') return { ...v4, v6: 'none' }
  const v6 = parseCidr6(second)
  const fault = rangeFault6(v4, v6)
  if (fault !== undefined) throw new RangeError(fault)
  return { ...v4, v6 }
}

function universeOf({ v6, ...v4 }: Ranges, cluster: string): Universe {
  if (v6 === 'none') return v4
  return { ...v4, v6: v6 === 'derived' ? defaultRange6(cluster) : v6 }
}

function wholeNumber(text: string, min: number, max: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= min && value <= max)) throw new RangeError(`not a whole number from ${min} to ${max}: ${JSON.stringify(text)}`)
  return value
}

function matching(text: string, pattern: RegExp, what: string): string {
  if (!pattern.test(text)) throw new RangeError(`not ${what}: ${JSON.stringify(text)}`)
  return text
}

function parseLogLevel(text: string): LogLevel {
  const level = LOG_LEVELS.find((known) => known === text)
  if (level === undefined) throw new RangeError(`not one of ${LOG_LEVELS.join(', ')}: ${JSON.stringify(text)}`)
  return level
}
