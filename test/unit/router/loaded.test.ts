/** What a router holds in memory that nobody has asked for: not the web, neither Node's second HTTP client nor WebSockets. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const run = promisify(execFile)
const DAEMON = new URL('../../../router/daemon.ts', import.meta.url).href
const WEB = new URL('../../../mesh/transport-ws.ts', import.meta.url).href

/** Node's own modules that a process holds which has imported `module`. */
async function loadedBy(module: string): Promise<readonly string[]> {
  const code = `await import(${JSON.stringify(module)}); console.log(JSON.stringify(process.moduleLoadList))`
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', code])
  return (JSON.parse(stdout) as readonly string[]).map((name) => name.replace('NativeModule ', ''))
}

const UNWANTED = ['internal/deps/undici/undici', 'http2', 'https', 'tls']

test('a router that knows no web server loads none of it', async () => {
  const loaded = await loadedBy(DAEMON)
  expect(loaded).toContain('http')
  expect(UNWANTED.filter((name) => loaded.includes(name))).toEqual([])
})

test('WebSockets bring TLS, which is how the test above would see them', async () => {
  expect(await loadedBy(WEB)).toEqual(expect.arrayContaining(['https', 'tls']))
})
