/** The network configuration that the installer puts where the container runtime looks. */

/** The lexically first file wins in containerd and CRI-O. */
export const CONFLIST_NAME: string = '10-weft.conflist'

/** The executable's name, by which the configuration finds it. */
export const PLUGIN_TYPE: string = 'weft-cni'

/** By this name the configuration of another plugin asks for addresses of ours: `"ipam": {"type": "weft-ipam"}`. */
export const IPAM_TYPE = 'weft-ipam'

const NETWORK_NAME = 'weft'

/**
 * `cniVersion` stays at 1.0.0: containerd 1.6 and podman 4 refuse results of 1.1.0, and would get these if the list
 * itself said so. Runtimes that know more pick the highest of `cniVersions` that they know.
 */
export function renderConflist(): string {
  const conflist = {
    cniVersion: '1.0.0',
    cniVersions: ['0.4.0', '1.0.0', '1.1.0'],
    name: NETWORK_NAME,
    plugins: [{ type: PLUGIN_TYPE, capabilities: { ips: true, mac: true } }],
  }
  return `${JSON.stringify(conflist, undefined, 2)}\n`
}
