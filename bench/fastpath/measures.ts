/** What is measured between two namespaces: TCP throughput, what it costs, and how often one can ask and be answered. */
import { z } from 'zod'
import { millis, seconds } from '../../mesh/base/brand.ts'
import { deadline, sleep } from '../../mesh/base/clock.ts'
import { WeftError } from '../../mesh/base/errors.ts'
import { busySeconds, command, inside, Server } from '../shell.ts'
import type { Candidate } from './candidates.ts'

export interface Throughput {
  readonly gigabitsPerSecond: number
  /** CPU seconds of the whole machine, both ends included, for each 10^9 bytes that arrived. */
  readonly cpuSecondsPerGigabyte: number
}

const iperfError = z.object({ error: z.string() })
const iperfReport = z.object({ end: z.object({ sum_received: z.object({ bytes: z.number().positive(), bits_per_second: z.number() }) }) })

const IPERF_PORT = 5201
const SOCKPERF_PORT = 11_111
const MESSAGE_BYTES = 64

/** The servers of a candidate, until disposed, and listening; idle ones cost nothing. */
export async function startServers({ server, to }: Candidate, stack: AsyncDisposableStack): Promise<void> {
  stack.use(new Server(inside(server, ['iperf3', '--server', '--bind', to, '--port', String(IPERF_PORT)])))
  stack.use(new Server(inside(server, ['sockperf', 'server', '--tcp', '-i', to, '-p', String(SOCKPERF_PORT)])))
  await untilListening(server, [IPERF_PORT, SOCKPERF_PORT])
}

async function untilListening(namespace: string, ports: readonly number[]): Promise<void> {
  const limit = deadline(seconds(10))
  while (!limit.aborted) {
    const text = await command(inside(namespace, ['ss', '-Hltn']))
    if (ports.every((port) => text.includes(`:${port} `))) return
    await sleep(millis(50))
  }
  throw new WeftError('UNREACHABLE', `the servers of a bench do not listen in ${namespace}`)
}

/**
 * Moves `bytes` and takes the time. Many short transfers in turns tell more than a few long ones: the machine's own
 * ups and downs last for seconds. Client and server stay on one core each, as where they land would matter most of all.
 */
export async function throughput(on: Candidate, streams: number, bytes: number, signal: AbortSignal): Promise<Throughput> {
  const before = busySeconds()
  const words = [
    'iperf3',
    '--client',
    on.to,
    '--bind',
    on.from,
    '--port',
    String(IPERF_PORT),
    '--parallel',
    String(streams),
    '--bytes',
    String(bytes),
    '--affinity',
    '0,1',
    '--json',
  ]
  const text = await command(inside(on.client, words), signal)
  const spent = busySeconds() - before
  const received = parseReport(text, on).end.sum_received
  return { gigabitsPerSecond: received.bits_per_second / 1e9, cpuSecondsPerGigabyte: spent / (received.bytes / 1e9) }
}

/** Requests of 64 bytes over one TCP connection, each after the answer to the one before: how many a second. */
export async function requestRate(on: Candidate, duration: number, signal: AbortSignal): Promise<number> {
  const words = [
    'sockperf',
    'ping-pong',
    '--tcp',
    '-i',
    on.to,
    '--client_ip',
    on.from,
    '-p',
    String(SOCKPERF_PORT),
    '-t',
    String(duration),
    '-m',
    String(MESSAGE_BYTES),
  ]
  const text = await command(inside(on.client, words), signal)
  const [, lasted, received] = /\[Valid Duration\] RunTime=([\d.]+) sec; SentMessages=\d+; ReceivedMessages=(\d+)/.exec(text) ?? []
  if (lasted === undefined || received === undefined) throw new WeftError('INPUT', `sockperf to ${on.name} gave no figures:\n${text}`)
  return Number(received) / Number(lasted)
}

function parseReport(text: string, on: Candidate): z.infer<typeof iperfReport> {
  const document: unknown = JSON.parse(text)
  const failed = iperfError.safeParse(document)
  if (failed.success) throw new WeftError('UNREACHABLE', `iperf3 over ${on.name}: ${failed.data.error}`)
  return iperfReport.parse(document)
}
