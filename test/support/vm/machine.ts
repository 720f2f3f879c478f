/**
 * One run of the virtual machine: QEMU without KVM, so that it runs anywhere, also inside of another one. The host's root is
 * exported to it read-only; nothing that happens in it reaches the host.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Kernel, makeInitramfs } from './initramfs.ts'

export interface Job {
  readonly kernel: Kernel
  /** A static one. */
  readonly busybox: string
  /** A script for /bin/sh, run as root with the host's files in a writable copy. */
  readonly task: string
  /** What the task prints, as it comes. */
  readonly output: (bytes: Uint8Array) => void
  /** Ends the machine at once. */
  readonly signal: AbortSignal
}

export type Outcome =
  | { readonly kind: 'done'; readonly status: number }
  | { readonly kind: 'aborted' }
  /** The task did not come to its end. `console`: the last that the kernel said. */
  | { readonly kind: 'died'; readonly console: string }

/** With one processor more than one thing at a time would never be tested. */
const PROCESSORS = 2
const MEMORY_MB = 2048
const CONSOLE_LINES = 40
const FOLDER = /^weft-vm-(\d+)-/

/** Resolves when QEMU is gone and its files are removed. */
export async function runMachine({ kernel, busybox, task, output, signal }: Job): Promise<Outcome> {
  removeStale()
  const folder = mkdtempSync(join(tmpdir(), `weft-vm-${process.pid}-`))
  const [disk, console, status] = [join(folder, 'initramfs'), join(folder, 'console'), join(folder, 'status')] as const
  try {
    writeFileSync(disk, makeInitramfs(kernel, busybox, task))
    // When we are killed without a chance to say so, the kernel ends QEMU.
    const words = ['--pdeathsig', 'KILL', 'qemu-system-x86_64', ...qemuWords(kernel.image, disk, console, status)]
    await runQemu(words, output, signal)
    if (signal.aborted) return { kind: 'aborted' }
    const code = /^\d+/.exec(textOf(status))?.[0]
    return code === undefined ? { kind: 'died', console: lastLines(console) } : { kind: 'done', status: Number(code) }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Resolves when it has ended, of itself or as it was told to. */
function runQemu(words: readonly string[], output: (bytes: Uint8Array) => void, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('setpriv', words, { stdio: ['ignore', 'pipe', 'inherit'] })
    const kill = (): void => void child.kill('SIGKILL')
    signal.addEventListener('abort', kill)
    if (signal.aborted) kill()
    child.stdout.on('data', output)
    child.on('error', reject)
    child.on('close', () => {
      signal.removeEventListener('abort', kill)
      resolve()
    })
  })
}

/** Files of runs that were killed. */
function removeStale(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = FOLDER.exec(name)?.[1]
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) rmSync(join(tmpdir(), name), { recursive: true, force: true })
  }
}

function qemuWords(image: string, disk: string, console: string, status: string): readonly string[] {
  return [
    ...['-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', String(PROCESSORS), '-m', String(MEMORY_MB)],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-kernel', image, '-initrd', disk, '-append', 'console=ttyS0 quiet panic=-1 mitigations=off'],
    ...['-chardev', `file,id=console,path=${console}`, '-serial', 'chardev:console'],
    ...['-chardev', 'stdio,id=task,signal=off', '-serial', 'chardev:task'],
    ...['-chardev', `file,id=status,path=${status}`, '-serial', 'chardev:status'],
    ...['-fsdev', 'local,id=host,path=/,security_model=none,readonly=on,multidevs=remap'],
    ...['-device', 'virtio-9p-pci,fsdev=host,mount_tag=host'],
  ]
}

function lastLines(path: string): string {
  return textOf(path).trimEnd().split('\n').slice(-CONSOLE_LINES).join('\n')
}

/** Empty when QEMU has not even begun it. */
function textOf(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}
