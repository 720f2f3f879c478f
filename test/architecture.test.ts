/** The rules of the house that a compiler does not know: layers, sizes, and who may touch what. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))

/** Each folder, and what outside itself it may import. Imports go down only. */
const LAYERS: Record<string, readonly string[]> = {
  mesh: [],
  ipam: ['mesh/base/', 'mesh/gossip.ts'],
  plugin: ['mesh/base/'],
  router: ['mesh/', 'ipam/', 'plugin/', 'package.json'],
  bench: ['mesh/', 'ipam/', 'plugin/', 'router/', 'test/support/'],
}

/** What only the named files may do. */
const ONLY_HERE: readonly { readonly what: string; readonly pattern: RegExp; readonly where: readonly string[] }[] = [
  { what: 'imports libsodium', pattern: /from 'libsodium-wrappers'/, where: ['mesh/crypto.ts'] },
  { what: 'imports the WebSocket library', pattern: /from 'ws'/, where: ['mesh/transport-ws.ts', 'mesh/upgrades.ts'] },
  { what: 'imports the web server and client of Node', pattern: /import (?!type)[^\n]*from 'node:https?'/, where: [] },
  { what: 'imports the Kubernetes client', pattern: /from '@kubernetes\/client-node'/, where: [] },
  { what: 'loads the native module', pattern: /createRequire|process\.dlopen/, where: ['router/kernel/native.ts'] },
  { what: 'opens netlink sockets', pattern: /\bAF_NETLINK\b/, where: ['router/kernel/netlink.ts'] },
  {
    what: 'sets timers or reads the clock',
    pattern: /\b(setTimeout|setInterval|setImmediate|Date\.now|performance\.now|new Date\(\)|AbortSignal\.timeout)\b/,
    where: ['mesh/base/clock.ts'],
  },
  { what: 'draws random numbers', pattern: /Math\.random/, where: ['mesh/base/random.ts'] },
  {
    what: 'uses the process',
    pattern: /\bprocess\.\w|from 'node:process'/,
    where: ['router/main.ts', 'router/native/build.ts', 'bench/main.ts', 'mesh/base/http.ts'],
  },
]

const FILE_LINES_MAX = 400
const PRODUCT = Object.keys(LAYERS)

const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: root, encoding: 'utf8' })
  .split('\n')
  .filter((file) => /\.(ts|mjs|c|h)$/.test(file) && existsSync(join(root, file)))
const product = files.filter((file) => file.endsWith('.ts') && PRODUCT.includes(file.split('/')[0] ?? ''))
const text = new Map(files.map((file) => [file, readFileSync(join(root, file), 'utf8')]))

/** The code of a file without its comments. */
function code(file: string): string {
  return (text.get(file) ?? '').replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[^:'"`])\/\/.*$/gm, '$1')
}

/** The files of the project that `file` imports, as paths from the top. */
function imports(file: string): readonly string[] {
  const specifiers = code(file).matchAll(/(?:from|import)\s*\(?\s*'(\.[^']*)'/g)
  return [...specifiers].map(([, specifier]) => normalize(join(dirname(file), specifier ?? '')))
}

test('the rules look at the real files', () => {
  expect(product.length).toBeGreaterThan(20)
  expect(product.filter((file) => imports(file).length > 0).length).toBeGreaterThan(10)
})

test('imports go down only', () => {
  const upward = product.flatMap((file) => {
    const layer = file.split('/')[0] ?? ''
    const allowed = [`${layer}/`, ...(LAYERS[layer] ?? [])]
    return imports(file)
      .filter((imported) => !allowed.some((prefix) => imported.startsWith(prefix)))
      .map((imported) => `${file} → ${imported}`)
  })
  expect(upward).toEqual([])
})

test('nothing of the product imports a test', () => {
  const wrong = product.filter((file) => !file.startsWith('bench/') && imports(file).some((imported) => imported.startsWith('test/')))
  expect(wrong).toEqual([])
})

describe.each(ONLY_HERE)('only the named files: $what', ({ pattern, where }) => {
  test('no other file does', () => {
    const offenders = product.filter((file) => !where.includes(file) && pattern.test(code(file)))
    expect(offenders).toEqual([])
  })
})

test(`no file is longer than ${FILE_LINES_MAX} lines`, () => {
  const long = files.filter((file) => (text.get(file) ?? '').split('\n').length - 1 > FILE_LINES_MAX)
  expect(long).toEqual([])
})

test('every file begins by saying what it is', () => {
  const silent = files.filter((file) => file !== 'vitest.config.ts' && !/^(#![^\n]*\n)?(\/\*\*?|\/\/)/.test(text.get(file) ?? ''))
  expect(silent).toEqual([])
})

test('no file names a place of the machine it was written on', () => {
  const leaking = [...files, 'package.json', 'package-lock.json', '.ci/run'].filter((file) =>
    /(^|[^\w.])\/(work|farm|tmp\/bash_jobs)\//m.test(text.get(file) ?? readFileSync(join(root, file), 'utf8')),
  )
  expect(leaking).toEqual([])
})
