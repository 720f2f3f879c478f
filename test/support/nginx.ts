/** A real nginx with TLS in a namespace, in front of one router, and an authority of its own that has signed its certificate. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Netns } from './netns.ts'
import { until } from './until.ts'

/** As setup.mjs unpacks it; otherwise the machine's. */
const UNPACKED = fileURLToPath(new URL('../../build/nginx/usr/sbin/nginx', import.meta.url))
const NGINX = existsSync(UNPACKED) ? UNPACKED : 'nginx'
const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
const run = promisify(execFile)

export interface Nginx extends AsyncDisposable {
  /** The file with the certificate of the authority. */
  readonly authority: string
  start(): Promise<void>
  /** SIGKILL. */
  kill(): Promise<void>
}

export interface NginxOptions {
  /** Of the namespace: what its certificate is for. */
  readonly address: string
  /** Where `/weft` and all below it is forwarded to. */
  readonly upstream: string
}

export async function makeNginx(ns: Netns, { address, upstream }: NginxOptions): Promise<Nginx> {
  const directory = await mkdtemp(join(tmpdir(), 'weft-nginx-'))
  const at = (name: string): string => join(directory, name)
  const openssl = (...words: readonly string[]) => run('openssl', ['req', '-x509', ...KEY, ...words])
  await openssl('-keyout', at('ca.key'), '-out', at('ca.pem'), '-subj', '/CN=Authority of a test')
  const names = ['-addext', `subjectAltName=IP:${address}`, '-addext', 'basicConstraints=critical,CA:FALSE']
  const signer = ['-CA', at('ca.pem'), '-CAkey', at('ca.key')]
  await openssl(...signer, ...names, '-keyout', at('key.pem'), '-out', at('cert.pem'), '-subj', '/CN=proxy')
  await writeFile(at('nginx.conf'), configuration(directory, upstream))
  let running: { kill(): Promise<void> } | undefined
  const kill = async (): Promise<void> => {
    await running?.kill()
    running = undefined
  }
  return {
    authority: at('ca.pem'),
    async start() {
      const words = [`--net=${ns.path}`, '--', 'setpriv', '--pdeathsig', 'KILL', '--', NGINX, '-c', at('nginx.conf'), '-p', directory]
      const child = spawn('nsenter', words, { stdio: ['ignore', 'ignore', 'inherit'] })
      const ended = once(child, 'close')
      running = {
        async kill() {
          child.kill('SIGKILL')
          await ended
        },
      }
      await until('nginx listens', async () => ((await ns.exec('ss', '-Hltn', 'sport = :443')) === '' ? undefined : true))
    },
    kill,
    async [Symbol.asyncDispose]() {
      await kill()
      await rm(directory, { recursive: true })
    },
  }
}

/** One process, which needs nothing outside `directory`. The location is the one of the README. */
function configuration(directory: string, upstream: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `  ${kind}_temp_path ${directory}/${kind};`)
  return `
daemon off;
master_process off;
user root;
pid ${directory}/nginx.pid;
error_log stderr crit;
events { worker_connections 64; }
http {
  access_log off;
${temporary.join('\n')}
  server {
    listen 443 ssl;
    ssl_certificate ${directory}/cert.pem;
    ssl_certificate_key ${directory}/key.pem;
    location /weft {
      proxy_pass http://${upstream};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
    }
  }
}
`
}
