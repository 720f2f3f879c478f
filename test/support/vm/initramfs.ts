/** The initial RAM disk of the virtual machine: busybox, the modules that reach the host's files, and what to do then. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Entry, packCpio } from './cpio.ts'

export interface Kernel {
  /** The folder that its Debian package was unpacked in. */
  readonly folder: string
  readonly release: string
  /** What boots. */
  readonly image: string
}

const FOLDERS = ['bin', 'sbin', 'dev', 'proc', 'sys', 'host', 'memory', 'root', 'lib', 'lib/modules']
/** All others are loaded from the host's files. */
const FIRST_MODULES = ['virtio_pci', '9pnet_virtio', '9p', 'overlay']

/** @throws when no kernel is there. */
export function findKernel(folder: string): Kernel {
  const image = existsSync(join(folder, 'boot')) ? readdirSync(join(folder, 'boot')).find((name) => name.startsWith('vmlinuz-')) : undefined
  if (image === undefined) throw new Error(`there is no kernel in ${folder}`)
  return { folder, release: image.slice('vmlinuz-'.length), image: join(folder, 'boot', image) }
}

/**
 * @param busybox a static one.
 * @param task a script for the host's /bin/sh.
 */
export function makeInitramfs(kernel: Kernel, busybox: string, task: string): Uint8Array {
  const { folder, release } = kernel
  const modules = join(folder, 'lib', 'modules')
  const index = join(modules, release, 'modules.dep')
  if (!existsSync(index)) execFileSync(busybox, ['depmod', '-b', folder, release], { stdio: ['ignore', 'ignore', 'inherit'] })
  const needs = readNeeds(readFileSync(index, 'utf8'))
  const paths = FIRST_MODULES.flatMap((name) => closure(name, needs))
  const lines = [...new Set(paths)].map((path) => `${path}: ${(needs.get(path) ?? []).join(' ')}\n`)
  return packCpio([
    ...FOLDERS.map(folderAt),
    ...foldersOf(paths.map((path) => `lib/modules/${release}/${path}`)).map(folderAt),
    fileAt('bin/busybox', readFileSync(busybox)),
    { path: 'sbin/modprobe', content: { kind: 'link', to: '/bin/busybox' } },
    fileAt('init', readFileSync(fileURLToPath(new URL('init.sh', import.meta.url)))),
    fileAt('task', Buffer.from(task)),
    fileAt('modules', Buffer.from(modules)),
    fileAt(`lib/modules/${release}/modules.dep`, Buffer.from(lines.join(''))),
    ...[...new Set(paths)].map((path) => fileAt(`lib/modules/${release}/${path}`, readFileSync(join(modules, release, path)))),
  ])
}

/** Which modules each needs, by path: `PATH: PATH PATH…`. */
function readNeeds(text: string): ReadonlyMap<string, readonly string[]> {
  const lines = text.split('\n').filter((line) => line.includes(':'))
  return new Map(
    lines.map((line) => [
      line.slice(0, line.indexOf(':')),
      line
        .slice(line.indexOf(':') + 1)
        .split(' ')
        .filter(Boolean),
    ]),
  )
}

/** The path of the module `name` and of all that it needs. */
function closure(name: string, needs: ReadonlyMap<string, readonly string[]>): readonly string[] {
  const found = [...needs].find(([path]) => path.slice(path.lastIndexOf('/') + 1).split('.')[0] === name)
  if (found === undefined) throw new Error(`this kernel has no module ${name}`)
  return [found[0], ...found[1]]
}

/** The folders in which the files at `paths` are, outer ones first. */
function foldersOf(paths: readonly string[]): readonly string[] {
  const folders = new Set<string>()
  const add = (folder: string): void => {
    if (folder === '.' || folders.has(folder) || FOLDERS.includes(folder)) return
    add(dirname(folder))
    folders.add(folder)
  }
  for (const path of paths) add(dirname(path))
  return [...folders]
}

function folderAt(path: string): Entry {
  return { path, content: { kind: 'folder' } }
}

function fileAt(path: string, bytes: Uint8Array): Entry {
  return { path, content: { kind: 'file', bytes } }
}
