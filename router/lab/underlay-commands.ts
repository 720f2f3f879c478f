/** `weft lab cut`, `heal`, `cuts`, `mtu` and `impair`: the command line of the network between the hosts. */
import type { Command } from 'commander'
import { WeftError } from '../../mesh/base/errors.ts'
import { err, ok } from '../../mesh/base/result.ts'
import type { CliIo } from '../cli/io.ts'
import { CUT_WORDS, type CutKind, parseCutKind } from './cuts.ts'
import { parseDelay, parseRate, parseSeed, parseShare } from './impairment.ts'
import { type LabOptions, labOptions, orInvalid, whole } from './options.ts'
import { impairmentDocument, renderCutList, renderImpairments, renderJson } from './render.ts'
import { MTU_BYTES_MAX, MTU_BYTES_MIN } from './state.ts'
import { cut, cuts, heal, type ImpairmentWish, impair, impairments, setMtu } from './underlay-actions.ts'

export function underlayCommands(io: CliIo): readonly Command[] {
  return [cutCommand(io), healCommand(io), cutsCommand(io), mtuCommand(io), impairCommand(io)]
}

interface PairOptions extends LabOptions {
  readonly proto?: CutKind
  readonly oneWay?: boolean
}

const protocol = orInvalid((text) => {
  const kind = parseCutKind(text)
  return kind === undefined ? err(`not one of ${CUT_WORDS}`) : ok(kind)
})

function cutCommand(io: CliIo): Command {
  return labOptions('cut', 'drop what two hosts send each other')
    .argument('<from>')
    .argument('<to>')
    .option('--proto <what>', `only this: ${CUT_WORDS}`, protocol)
    .option('--one-way', 'only from the first to the second')
    .addHelpText('after', '\nCuts add up: one for each protocol and direction. A port is one of TCP or UDP, at either end.')
    .action(async (from: string, to: string, { name, json, proto, oneWay = false }: PairOptions) => {
      const all = await cut(io, name, [from, to], { what: proto, oneWay })
      io.out(json ? renderJson({ cuts: all }) : renderCutList(all))
    })
}

function healCommand(io: CliIo): Command {
  return labOptions('heal', 'undo the cuts between two hosts, or all of them')
    .argument('[from]')
    .argument('[to]')
    .option('--proto <what>', `only this: ${CUT_WORDS}`, protocol)
    .option('--one-way', 'only from the first to the second')
    .action(async (from: string | undefined, to: string | undefined, { name, json, proto, oneWay = false }: PairOptions) => {
      if (from !== undefined && to === undefined) throw new WeftError('USAGE', 'heal takes two hosts, or none for all')
      if (from === undefined && (proto !== undefined || oneWay)) {
        throw new WeftError('USAGE', '--proto and --one-way are of two hosts', { hint: 'weft lab heal a b --proto udp' })
      }
      const left = await heal(io, name, from === undefined || to === undefined ? undefined : [from, to], { what: proto, oneWay })
      io.out(json ? renderJson({ cuts: left }) : renderCutList(left))
    })
}

function cutsCommand(io: CliIo): Command {
  return labOptions('cuts', 'what is cut').action(async ({ name, json }: LabOptions) => {
    const all = await cuts(name)
    io.out(json ? renderJson({ cuts: all }) : renderCutList(all))
  })
}

function mtuCommand(io: CliIo): Command {
  return labOptions('mtu', 'change how big a packet the cable of a host carries, while all runs')
    .argument('<host>')
    .argument('<bytes>', `${MTU_BYTES_MIN} to ${MTU_BYTES_MAX}`, whole(MTU_BYTES_MIN, MTU_BYTES_MAX))
    .option('--hidden', 'behind the back of the host, as when a path far away narrows')
    .addHelpText('after', '\nWhat is too big for a hidden MTU vanishes on one switch (l2); on a routed underlay the router says so (ICMP).')
    .action(async (wanted: string, mtuBytes: number, { name, json, hidden = false }: LabOptions & { readonly hidden?: boolean }) => {
      const { name: host, ...mtus } = await setMtu(io, name, wanted, { mtuBytes, hidden })
      const document = { host, mtuBytes: mtus.mtuBytes, farMtuBytes: mtus.farMtuBytes }
      const far = mtus.mtuBytes === mtus.farMtuBytes ? '' : `; what it does not know: no more than ${mtus.farMtuBytes} pass`
      io.out(json ? renderJson(document) : `${host} has an MTU of ${mtus.mtuBytes} bytes${far}\n`)
    })
}

interface ImpairOptions extends LabOptions {
  readonly loss?: number
  readonly duplicate?: number
  readonly reorder?: number
  readonly delay?: number
  readonly rate?: number
  readonly seed?: number
  readonly off?: boolean
}

function impairCommand(io: CliIo): Command {
  return labOptions('impair', 'make the cable of a host a bad one, each way; without options: show the bad ones')
    .argument('[host]')
    .option('--loss <share>', 'lose packets, as 1%', orInvalid(parseShare))
    .option('--duplicate <share>', 'send packets twice, as 1%', orInvalid(parseShare))
    .option('--reorder <share>', 'hold packets back for 5 ms, so that others overtake them, as 1%', orInvalid(parseShare))
    .option('--delay <time>', 'as 20ms', orInvalid(parseDelay))
    .option('--rate <rate>', 'as 100mbit; what would wait for more than 100 ms is dropped', orInvalid(parseRate))
    .option('--seed <number>', 'the same seed does the same to the n-th packet (default: drawn)', orInvalid(parseSeed))
    .option('--off', 'a good cable again')
    .addHelpText(
      'after',
      '\nEach call replaces the one before. Hosts with a bad cable send packet by packet, without segmentation offload.',
    )
    .action(async (host: string | undefined, options: ImpairOptions) => {
      const { name, json, off = false } = options
      const wish = wishOf(options)
      if (host === undefined && (off || wish !== undefined)) {
        throw new WeftError('USAGE', 'which host?', { hint: 'weft lab impair a --loss 1%' })
      }
      if (off && wish !== undefined) throw new WeftError('USAGE', '--off goes with no other option')
      const all = host === undefined || (!off && wish === undefined) ? await impairments(name, host) : await impair(io, name, host, wish)
      io.out(json ? renderJson({ impairments: all.map(impairmentDocument) }) : renderImpairments(all))
    })
}

/** Undefined when nothing of it was said. */
function wishOf({ loss, duplicate, reorder, delay, rate, seed }: ImpairOptions): ImpairmentWish | undefined {
  if ([loss, duplicate, reorder, delay, rate, seed].every((value) => value === undefined)) return undefined
  return {
    lossPpm: loss ?? 0,
    duplicatePpm: duplicate ?? 0,
    reorderPpm: reorder ?? 0,
    delayUs: delay ?? 0,
    rateKbit: rate ?? 0,
    seed,
  }
}
