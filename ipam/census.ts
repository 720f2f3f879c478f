/**
 * Asking other peers, one by one, how they see things: whether their ring is ours, and whether their own addresses
 * add up. Big endian:
 *
 *   question: | 32 | id 4 | wants the proof 1 |
 *   answer:   | 33 | id 4 | ring digest 16 | seed id 8, zero: no ring | in doubt 1 | MessagePack: [allocated, living, findings, [finding, …]], or nothing |
 *
 * A question that is lost is answered by nothing: whoever asks gives a deadline.
 */
import type { Millis, PeerName } from '../mesh/base/brand.ts'
import { concatBytes, fromHex, toHex } from '../mesh/base/bytes.ts'
import type { Clock } from '../mesh/base/clock.ts'
import { type Random, randomBelow } from '../mesh/base/random.ts'
import { err, ok, type Result } from '../mesh/base/result.ts'
import { decodeWire, encodeWire } from '../mesh/base/wire.ts'
import type { GossipFault } from '../mesh/gossip.ts'
import type { SeedId } from './ring.ts'

/** Whether the allocations of one node are those of its pods. */
export interface NodeProof {
  readonly allocated: number
  /** Attachments that exist in the kernel. */
  readonly living: number
  /** What does not fit, a sentence each. */
  readonly findings: readonly string[]
}

export interface CensusAnswer {
  readonly digest: Uint8Array
  /** Which ring it has; undefined when it has none. */
  readonly seedId: SeedId | undefined
  readonly inDoubt: boolean
  /** Undefined when it was not asked for, or that peer cannot tell. */
  readonly proof: (NodeProof & { readonly findingsCount: number }) | undefined
}

export interface CensusPorts {
  readonly clock: Clock
  readonly random: Random
  digest(): Uint8Array
  seedId(): SeedId | undefined
  inDoubt(): boolean
  /** Undefined when nobody here knows the kernel. */
  prove(): Promise<NodeProof | undefined>
  send(to: PeerName, message: Uint8Array): boolean
}

const Kind = { question: 32, answer: 33 } as const
const QUESTION_BYTES = 6
const DIGEST_AT = 5
const DIGEST_BYTES = 16
const SEED_ID_AT = DIGEST_AT + DIGEST_BYTES
const NO_RING = '00'.repeat(8)
const ANSWER_HEAD_BYTES = SEED_ID_AT + 8 + 1
/** A screenful; their number is told as well. */
const FINDINGS_MAX = 16
const FINDING_LENGTH_MAX = 240
/** As many as a mesh has peers. */
const OPEN_QUESTIONS_MAX = 2_048

export function isCensusMessage(bytes: Uint8Array): boolean {
  return bytes[0] === Kind.question || bytes[0] === Kind.answer
}

interface Open {
  readonly peer: PeerName
  settle(answer: CensusAnswer | undefined): void
}

export class Census {
  readonly #ports: CensusPorts
  readonly #open = new Map<number, Open>()
  #proving: Promise<NodeProof | undefined> | undefined

  constructor(ports: CensusPorts) {
    this.#ports = ports
  }

  /** Undefined when there is no way to the peer, or no answer within `within`. */
  ask(peer: PeerName, { proof, within }: { readonly proof: boolean; readonly within: Millis }): Promise<CensusAnswer | undefined> {
    const { clock, random, send } = this.#ports
    const id = randomBelow(random, 2 ** 32)
    if (this.#open.size >= OPEN_QUESTIONS_MAX || this.#open.has(id) || !send(peer, encodeQuestion(id, proof)))
      return Promise.resolve(undefined)
    return new Promise((resolve) => {
      const settle = (answer: CensusAnswer | undefined): void => {
        this.#open.delete(id)
        timer[Symbol.dispose]()
        resolve(answer)
      }
      const timer = clock.after(within, () => settle(undefined))
      this.#open.set(id, { peer, settle })
    })
  }

  receive(bytes: Uint8Array, from: PeerName): Result<void, GossipFault> {
    if (bytes.length < QUESTION_BYTES) return malformed(`a message of the census of ${bytes.length} bytes`)
    const id = new DataView(bytes.buffer, bytes.byteOffset).getUint32(1)
    if (bytes[0] === Kind.question) {
      void this.#answer(from, id, bytes[QUESTION_BYTES - 1] === 1)
      return ok(undefined)
    }
    const answer = decodeAnswer(bytes)
    if (!answer.ok) return answer
    const open = this.#open.get(id)
    if (open?.peer === from) open.settle(answer.value)
    return ok(undefined)
  }

  async #answer(to: PeerName, id: number, wantsProof: boolean): Promise<void> {
    // Looking at the kernel costs some milliseconds: all who ask meanwhile get the same answer.
    if (wantsProof) this.#proving ??= this.#prove()
    // After the present call, as the mesh may be in the midst of calling us.
    const proof = await (wantsProof ? this.#proving : Promise.resolve(undefined))
    this.#ports.send(to, encodeAnswer(id, this.#ports, proof))
  }

  async #prove(): Promise<NodeProof | undefined> {
    try {
      return await this.#ports.prove()
    } finally {
      this.#proving = undefined
    }
  }
}

function encodeQuestion(id: number, proof: boolean): Uint8Array {
  const bytes = new Uint8Array(QUESTION_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, Kind.question)
  view.setUint32(1, id)
  view.setUint8(QUESTION_BYTES - 1, Number(proof))
  return bytes
}

function encodeAnswer(id: number, { digest, seedId, inDoubt }: CensusPorts, proof: NodeProof | undefined): Uint8Array {
  const head = new Uint8Array(ANSWER_HEAD_BYTES)
  const view = new DataView(head.buffer)
  view.setUint8(0, Kind.answer)
  view.setUint32(1, id)
  head.set(digest(), DIGEST_AT)
  head.set(fromHex(seedId() ?? NO_RING), SEED_ID_AT)
  view.setUint8(ANSWER_HEAD_BYTES - 1, Number(inDoubt()))
  if (proof === undefined) return head
  const findings = proof.findings.slice(0, FINDINGS_MAX).map((finding) => finding.slice(0, FINDING_LENGTH_MAX))
  return concatBytes([head, encodeWire([proof.allocated, proof.living, proof.findings.length, findings])])
}

function decodeAnswer(bytes: Uint8Array): Result<CensusAnswer, GossipFault> {
  if (bytes.length < ANSWER_HEAD_BYTES) return malformed(`an answer to the census of ${bytes.length} bytes`)
  const digest = bytes.slice(DIGEST_AT, DIGEST_AT + DIGEST_BYTES)
  const ring = toHex(bytes.subarray(SEED_ID_AT, ANSWER_HEAD_BYTES - 1))
  const head = { digest, seedId: ring === NO_RING ? undefined : (ring as SeedId), inDoubt: bytes[ANSWER_HEAD_BYTES - 1] === 1 }
  if (bytes.length === ANSWER_HEAD_BYTES) return ok({ ...head, proof: undefined })
  const value = decodeWire(bytes.subarray(ANSWER_HEAD_BYTES))
  if (!value.ok) return malformed(value.error)
  if (!Array.isArray(value.value)) return malformed('an answer to the census that is no list')
  const [allocated, living, findingsCount, findings]: readonly unknown[] = value.value
  if (!(isCount(allocated) && isCount(living) && isCount(findingsCount) && Array.isArray(findings)))
    return malformed('an answer to the census with other things in it')
  const texts = findings
    .slice(0, FINDINGS_MAX)
    .flatMap((text: unknown) => (typeof text === 'string' ? [text.slice(0, FINDING_LENGTH_MAX)] : []))
  return ok({ ...head, proof: { allocated, living, findingsCount, findings: texts } })
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0
}

function malformed(detail: string): { readonly ok: false; readonly error: GossipFault } {
  return err({ code: 'malformed', detail })
}
