/**
 * Runs one task of the project with all that it needs: npm packages (and with them the Node that runs
 * the TypeScript), Debian packages, the two compiled files. Whatever is there already costs nothing.
 *
 * This one file is plain JavaScript, because it must run on any Node from 20 on.
 *
 *     node setup.mjs TASK [ARGUMENT…]
 */
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { accessSync, constants, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('.', import.meta.url))
const bin = join(root, 'node_modules', '.bin')
/** Where Node keeps what it made of the sources: with it a process starts in half the time and holds 25 MB less. */
const compileCache = join(root, 'build', 'cache')

/**
 * What the tasks call on the machine: a command (or a file), and the Debian package that has it. `unpack`: where to, instead of
 * installing it, and `runs`: what it does when all is there. `latest`: the package is only a name for the newest of its kind.
 */
const COMPILERS = [
  { name: 'cc', package: 'gcc' },
  { file: '/usr/include/stdlib.h', package: 'libc6-dev' },
  { file: '/usr/include/linux/rtnetlink.h', package: 'linux-libc-dev' },
  { name: 'musl-gcc', package: 'musl-tools' },
]
const NETWORK_TOOLS = [
  { name: 'ip', package: 'iproute2' },
  { name: 'nft', package: 'nftables' },
  { name: 'nsenter', package: 'util-linux' },
  { name: 'setpriv', package: 'util-linux' },
  { name: 'ping', package: 'iputils-ping' },
]
/** Installed, nginx would begin to serve the machine's port 80, now and after every boot: for a test it is enough to unpack it. */
const TEST_TOOLS = [
  { name: 'openssl', package: 'openssl' },
  {
    name: 'nginx',
    package: 'nginx',
    unpack: join(root, 'build', 'nginx'),
    file: join(root, 'build', 'nginx', 'usr', 'sbin', 'nginx'),
    runs: ['-v'],
  },
]
/** Installed, the kernel would be what the machine boots next, and the static busybox would push out another one. */
const kernel = join(root, 'build', 'vm', 'linux')
const busybox = join(root, 'build', 'vm', 'busybox')
const VM_TOOLS = [
  { name: 'qemu-system-x86_64', package: 'qemu-system-x86' },
  { name: 'wg', package: 'wireguard-tools' },
  { name: 'busybox', package: 'busybox-static', unpack: busybox, file: join(busybox, 'bin', 'busybox'), runs: ['true'] },
  { name: 'linux-image', package: 'linux-image-amd64', latest: true, unpack: kernel, file: join(kernel, 'boot') },
]
const IPERF = { name: 'iperf3', package: 'iperf3' }
const BENCH_TOOLS = [IPERF, { name: 'sockperf', package: 'sockperf' }]

/**
 * A router lives long and holds little. A small nursery keeps small what it has touched once and never gives back; a heap that may
 * grow by a quarter before it is swept keeps small what a flood of strangers leaves behind. V8's own work needs one thread, not three.
 */
const SMALL = ['--max-semi-space-size=1', '--heap-growing-percent=25', '--v8-pool-size=1']
const weft = (...words) => ['node', ...SMALL, 'router/main.ts', ...words]

/**
 * `tools`: what must be on the machine; `root`: makes network namespaces; `machine`: runs on no other; `compiled`: needs build/;
 * `run`: commands, the last takes the arguments.
 */
const TASKS = {
  check: {
    tools: [],
    run: [['biome', 'check'], ['tsc'], ['knip'], ['vitest', 'run', 'test/unit', 'test/sim', 'test/architecture.test.ts']],
  },
  test: { tools: [...COMPILERS, ...NETWORK_TOOLS, ...TEST_TOOLS], root: true, compiled: true, run: [['vitest', 'run']] },
  'test:vm': {
    tools: [...COMPILERS, ...NETWORK_TOOLS, ...VM_TOOLS, IPERF],
    machine: 'x64',
    compiled: true,
    run: [['node', 'test/support/vm/main.ts']],
  },
  sim: { tools: [], run: [['node', 'test/sim/main.ts']] },
  demo: { tools: [...COMPILERS, ...NETWORK_TOOLS], root: true, compiled: true, run: [weft('lab', 'demo')] },
  bench: {
    tools: [...COMPILERS, ...NETWORK_TOOLS, ...BENCH_TOOLS],
    root: true,
    compiled: true,
    run: [['node', ...SMALL, 'bench/main.ts']],
  },
  build: { tools: COMPILERS, compiled: true, run: [] },
  weft: { tools: COMPILERS, compiled: true, run: [weft()] },
}

function fail(message) {
  console.error(`weft: ${message}`)
  process.exit(1)
}

function say(message) {
  console.error(`weft: ${message}`)
}

function isRoot() {
  return process.getuid() === 0
}

/** npm packages: `npm ci` when package-lock.json is not the one that was installed last. */
function installNpmPackages() {
  const marker = join(root, 'node_modules', '.weft-lock')
  const wanted = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex')
  if (existsSync(marker) && readFileSync(marker, 'utf8') === wanted) return
  say('installing the npm packages of package-lock.json, Node among them (once; again when it changes)')
  const { status, error } = spawnSync('npm', ['ci', '--loglevel=error', '--no-fund', '--no-audit'], {
    cwd: root,
    stdio: ['ignore', process.stderr, 'inherit'],
  })
  if (error !== undefined) fail(`cannot run npm (${error.message}): install Node.js 20 or newer with npm`)
  if (status !== 0)
    fail('`npm ci` failed (its reason stands above). It needs the npm registry, once: check the network or proxy, then run this again')
  if (!existsSync(join(bin, 'node'))) {
    fail(`no Node for this machine came with the packages (${process.platform} ${process.arch}): Weft runs on Linux on x64 and arm64`)
  }
  writeFileSync(marker, wanted)
}

function hasCommand(name) {
  return `${process.env.PATH}${delimiter}/usr/sbin${delimiter}/sbin`.split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, name), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

function isPresent(tool) {
  return (tool.file !== undefined && existsSync(tool.file)) || (tool.name !== undefined && hasCommand(tool.name))
}

/** Debian packages: named first, then installed when we may, or unpacked. */
function installTools(tools) {
  const missing = tools.filter((tool) => tool.unpack === undefined && !isPresent(tool))
  if (missing.length > 0) installPackages(missing)
  for (const tool of tools) if (!isPresent(tool)) unpackTool(tool)
}

function installPackages(missing) {
  const packages = [...new Set(missing.map((tool) => tool.package))].join(' ')
  const command = `apt-get install --yes --no-install-recommends ${packages}`
  if (!hasCommand('apt-get'))
    fail(`missing: ${missing.map((tool) => tool.name ?? tool.file).join(', ')}. On Debian these are the packages: ${packages}`)
  if (!isRoot()) fail(`these Debian packages are missing: ${packages}. Install them as root:\n\n    sudo ${command}\n`)
  say(`installing the Debian packages that are missing: ${packages}`)
  const install = ['install', '--yes', '--no-install-recommends', ...packages.split(' ')]
  if (!(apt(['update']) && apt(install)))
    fail(
      `apt-get failed (its reason stands above). When the network is back, run this again, or by hand:\n\n    apt-get update && ${command}\n`,
    )
  const still = missing.filter((tool) => !isPresent(tool))
  if (still.length > 0) fail(`still missing after the install: ${still.map((tool) => tool.name ?? tool.file).join(', ')}`)
}

function apt(words, options = {}) {
  return isDone('apt-get', ['-qq', ...words], { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }, ...options })
}

function isDone(command, words, options = {}) {
  return spawnSync(command, words, { stdio: ['ignore', 'ignore', 'inherit'], ...options }).status === 0
}

/**
 * Fetches a Debian package and takes it apart in a directory of ours, which is there when it is whole. The libraries that it needs
 * come with what is installed.
 */
function unpackTool({ name, package: wanted, latest = false, unpack, file, runs }) {
  if (!hasCommand('apt-get')) fail(`missing: ${name}. Its Debian package ${wanted} has to be unpacked in ${unpack}`)
  say(`unpacking the Debian package ${wanted} in ${unpack}`)
  const [fetched, unpacked] = [`${unpack}.fetched`, `${unpack}.new`]
  for (const directory of [unpack, fetched, unpacked]) rmSync(directory, { recursive: true, force: true })
  for (const directory of [fetched, unpacked]) mkdirSync(directory, { recursive: true })
  const isUpdated = isRoot() ? apt(['update']) : true
  const download = ['-o', 'APT::Sandbox::User=root', 'download', latest ? newest(wanted) : wanted]
  const archive = isUpdated && apt(download, { cwd: fetched }) && readdirSync(fetched).find((entry) => entry.endsWith('.deb'))
  if (!archive) fail(`apt-get failed (its reason stands above). When the network is back, run this again`)
  if (!isDone('dpkg-deb', ['--extract', join(fetched, archive), unpacked])) fail(`cannot unpack ${archive} (the reason stands above)`)
  rmSync(fetched, { recursive: true })
  renameSync(unpacked, unpack)
  if (!existsSync(file)) fail(`${file} is not in the Debian package ${wanted}: get ${name} in another way`)
  if (runs !== undefined && !isDone(file, runs, { stdio: 'ignore' }))
    fail(`${name} does not run: install the Debian package ${wanted} by hand`)
}

/** The package that `name` stands for. */
function newest(name) {
  const { stdout } = spawnSync('apt-cache', ['depends', '--important', name], { encoding: 'utf8' })
  return /Depends: (\S+)/.exec(stdout ?? '')?.[1] ?? name
}

/** Runs one command to its end with the Node of node_modules; its exit code, or 128 + the signal's number. */
function run([command, ...words]) {
  return new Promise((resolve) => {
    const child = spawn(join(bin, command), words, {
      cwd: root,
      stdio: 'inherit',
      env: {
        ...process.env,
        NODE_COMPILE_CACHE: compileCache,
        PATH: `${bin}${delimiter}${process.env.PATH}${delimiter}/usr/sbin${delimiter}/sbin`,
      },
    })
    const forward = (signal) => child.kill(signal)
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, forward)
    child.on('error', (error) => fail(`cannot run ${command}: ${error.message}`))
    child.on('exit', (code, signal) => resolve(code ?? (signal === 'SIGKILL' ? 137 : 130)))
  })
}

async function main([name, ...words]) {
  const task = TASKS[name]
  if (task === undefined) fail(`unknown task ${JSON.stringify(name)}: one of ${Object.keys(TASKS).join(', ')}`)
  if (task.machine !== undefined && task.machine !== process.arch)
    fail(`\`npm run ${name}\` runs on ${task.machine} only, and this is ${process.arch}`)
  if (task.root && !isRoot()) fail(`\`npm run ${name}\` makes network namespaces, which takes root: sudo npm run ${name}`)
  installTools(task.tools)
  installNpmPackages()
  const commands = task.compiled ? [['node', 'router/native/build.ts'], ...task.run] : task.run
  for (const [index, command] of commands.entries()) {
    const status = await run(index === commands.length - 1 ? [...command, ...words] : command)
    if (status !== 0) process.exit(status)
  }
}

await main(process.argv.slice(2))
