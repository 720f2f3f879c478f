/** The seam between the mesh and whatever carries its byte streams: TCP, WebSockets, or a simulated network. */
import type { Result } from './base/result.ts'
import type { Endpoint, Place, Target, WebScheme } from './endpoint.ts'

export interface Transport {
  /**
   * Hands every stream that others open to `accept`, until disposed. Port 0 takes any free one.
   * @throws {WeftError} when the port is taken or the address is not ours.
   */
  listen(at: Place, accept: (stream: Stream) => void): Promise<Listener>
  /**
   * Opens a stream. Calls `done` exactly once and never from inside this call, with a reason for people
   * when it failed; not at all once the returned object was disposed, which gives up. Has no deadline of its own.
   */
  dial(to: Target, done: (outcome: Result<Stream, string>) => void): Disposable
}

export interface Listener extends AsyncDisposable {
  /** The port in use. */
  readonly port: number
}

/** A reliable, ordered stream of bytes in both directions. */
export interface Stream {
  /** The other side, as we see it. */
  readonly remote: Endpoint
  /** It passes a web server, or comes as if through one; absent for plain TCP. */
  readonly via?: WebScheme | undefined
  /** Bytes written that the other side has not taken yet. Each transport closes the stream when they pass its limit. */
  readonly backlogBytes: number
  /** Says who is told; called once, right after the stream is made. Nothing is delivered before. */
  start(handler: StreamHandler): void
  /** Queues bytes for sending; the caller does not touch them again. Does nothing once the stream has ended. */
  write(bytes: Uint8Array): void
  /** Sends what is queued, then ends, without waiting longer than the transport's deadline. The handler hears nothing more. */
  close(): void
}

export interface StreamHandler {
  /** A piece of the stream, of any size; the memory is the handler's. */
  received(bytes: Uint8Array): void
  /** The other side or the network has ended the stream. Called at most once, and last. */
  closed(reason: string): void
}
