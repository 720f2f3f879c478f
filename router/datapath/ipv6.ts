/** Whether this node can carry the IPv6 of pods. Where it cannot, they get IPv4 alone, and `weft status` says why. */
import { readdir } from 'node:fs/promises'
import { WeftError } from '../../mesh/base/errors.ts'
import { readSysctl, writeSysctl } from '../kernel/sysctl.ts'

/** The least that every link of IPv6 carries (RFC 8200, section 5). Linux has none on devices of less. */
export const IPV6_MTU_BYTES_MIN = 1_280

const FORWARDING = 'net.ipv6.conf.all.forwarding'
const LINKS_DIRECTORY = '/proc/sys/net/ipv6/conf'
/** Settings for all links and for those to come, which are no links. */
const NO_LINKS: ReadonlySet<string> = new Set(['all', 'default', 'lo'])

/**
 * Turns forwarding on where it is off and we may; never off again.
 * @returns why the kernel of this node, as it is set up, has no IPv6 for pods; undefined when it has.
 */
export async function prepareIpv6(): Promise<string | undefined> {
  try {
    for (const key of ['net.ipv6.conf.all.disable_ipv6', 'net.ipv6.conf.default.disable_ipv6']) {
      if ((await readSysctl(key)) !== '0') return `it is switched off on this node (${key} is 1)`
    }
    if ((await readSysctl(FORWARDING)) === '0') await startForwarding()
    return undefined
  } catch (error) {
    if (!(error instanceof WeftError)) throw error
    if (error.code === 'MISSING') return 'the kernel of this node has none'
    return `${error.message}${error.hint === undefined ? '' : `; ${error.hint}`}`
  }
}

/**
 * A node that forwards does not listen to routers any more (accept_ra=1 says: unless forwarding), and forgets the default
 * route that it has from them. Links that listen now are told to go on before that (accept_ra=2).
 */
async function startForwarding(): Promise<void> {
  const links = (await readdir(LINKS_DIRECTORY)).filter((name) => !(NO_LINKS.has(name) || name.startsWith('.')))
  for (const link of links) {
    const key = `net.ipv6.conf.${link.replaceAll('.', '/')}.accept_ra`
    await orMissing(async () => {
      if ((await readSysctl(key)) === '1') await writeSysctl(key, '2')
    })
  }
  await writeSysctl(FORWARDING, '1')
}

/** Links come and go while we look at them. */
async function orMissing(work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!(error instanceof WeftError && error.code === 'MISSING')) throw error
  }
}

/**
 * On a link of ours nobody is to tell the node of routers. The filter drops who tries, so that nothing depends on this:
 * in a container /proc/sys may be read-only.
 */
export async function refuseRouters(link: string): Promise<void> {
  try {
    await writeSysctl(`net.ipv6.conf.${link}.accept_ra`, '0')
  } catch (error) {
    if (!(error instanceof WeftError)) throw error
  }
}
