/** What this process has open: to see that nothing is left open. */
import { readdir, readlink } from 'node:fs/promises'

/** Sockets and network namespaces, in order. Other kinds come and go by themselves. */
export async function openDescriptors(): Promise<readonly string[]> {
  const links = await Promise.all((await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => 'gone')))
  return links.filter((link) => /^(socket|net):/.test(link)).sort()
}
