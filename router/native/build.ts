/**
 * Compiles what is C: the native module (`build/weft.node`, loaded by `router/kernel/native.ts`), the
 * executable that the container runtime calls (`build/weft-cni`, a static one, as it runs on any host), and
 * the lab's bad cable (`build/weft-middlebox`).
 *
 *     node router/native/build.ts
 *
 * Up to date means: same sources, same headers, same command. Builds may run side by side: each writes
 * its own temporary file and renames it.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describeError, WeftError } from '../../mesh/base/errors.ts'

interface Target {
  /** The file's name in build/. */
  readonly output: string
  /** All C files of this folder are its sources. */
  readonly sources: string
  /** A file without which the folder has not been written yet. */
  readonly main: string
  /** Folders with headers of others. */
  readonly includes: readonly string[]
  readonly compiler: string
  readonly flags: readonly string[]
  /** The Debian packages that compile it. */
  readonly packages: string
}

const root = fileURLToPath(new URL('../..', import.meta.url))
const outputDirectory = join(root, 'build')

const WARNINGS = ['-std=c11', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror']

const TARGETS: readonly Target[] = [
  {
    output: 'weft.node',
    sources: 'router/native',
    main: 'module.c',
    includes: ['node_modules/node-api-headers/include'],
    compiler: 'cc',
    flags: [...WARNINGS, '-DNAPI_VERSION=8', '-O2', '-shared', '-fPIC', '-fvisibility=hidden', '-pthread'],
    packages: 'gcc libc6-dev linux-libc-dev',
  },
  {
    output: 'weft-cni',
    sources: 'plugin/shim',
    main: 'weft-cni.c',
    includes: [],
    compiler: 'musl-gcc',
    flags: [...WARNINGS, '-Os', '-static', '-s'],
    packages: 'musl-tools',
  },
  {
    output: 'weft-middlebox',
    sources: 'router/lab/middlebox',
    main: 'middlebox.c',
    includes: [],
    compiler: 'musl-gcc',
    flags: [...WARNINGS, '-O2', '-static', '-s'],
    packages: 'musl-tools',
  },
]

function say(line: string): void {
  process.stderr.write(`weft: ${line}\n`)
}

/** Files of `directory` with one of these endings, as paths from the top, in order. */
function filesOf(directory: string, endings: readonly string[]): readonly string[] {
  return readdirSync(join(root, directory))
    .filter((name) => endings.some((ending) => name.endsWith(ending)))
    .sort()
    .map((name) => join(directory, name))
}

function command({ sources, includes, flags }: Target, output: string): readonly string[] {
  return [...flags, ...includes.map((directory) => `-I${directory}`), '-o', output, ...filesOf(sources, ['.c'])]
}

function fingerprint(target: Target): string {
  const hash = createHash('sha256').update(JSON.stringify([process.arch, target.compiler, command(target, target.output)]))
  const inputs = [...filesOf(target.sources, ['.c', '.h']), ...target.includes.flatMap((directory) => filesOf(directory, ['.h']))]
  for (const file of inputs) hash.update(`${file}\0`).update(readFileSync(join(root, file)))
  return hash.digest('hex')
}

/** @throws {WeftError} MISSING when there is no compiler, STATE when it refuses the sources (its own words stand above). */
function compile(target: Target, output: string): void {
  const { error, status } = spawnSync(target.compiler, command(target, output), { cwd: root, stdio: ['ignore', 2, 2] })
  if (error !== undefined) {
    throw new WeftError('MISSING', `cannot run ${target.compiler}`, { cause: error, hint: `apt-get install ${target.packages}` })
  }
  if (status !== 0) {
    throw new WeftError('STATE', `${target.compiler} cannot compile ${target.sources}`, {
      hint: `apt-get install ${target.packages}, and npm ci, give it all it needs`,
    })
  }
}

function build(target: Target): void {
  if (!existsSync(join(root, target.sources, target.main))) {
    say(`build/${target.output} is skipped: there is no ${target.sources}/${target.main}`)
    return
  }
  const output = join(outputDirectory, target.output)
  const hashFile = `${output}.hash`
  const wanted = fingerprint(target)
  if (existsSync(output) && existsSync(hashFile) && readFileSync(hashFile, 'utf8') === wanted) return
  const temporary = `${output}.${process.pid}`
  try {
    compile(target, relative(root, temporary))
    renameSync(temporary, output)
    writeFileSync(temporary, wanted)
    renameSync(temporary, hashFile)
  } finally {
    rmSync(temporary, { force: true })
  }
  say(`built build/${target.output}`)
}

try {
  mkdirSync(outputDirectory, { recursive: true })
  for (const target of TARGETS) build(target)
} catch (error) {
  say(describeError(error))
  if (error instanceof WeftError && error.hint !== undefined) say(`hint: ${error.hint}`)
  process.exitCode = 1
}
