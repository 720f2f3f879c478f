/** What we use of the npm package `noise-handshake`, which comes without types: another implementation to compare ours with. */
declare module 'noise-handshake' {
  class Noise {
    constructor(
      pattern: string,
      initiator: boolean,
      keys: { readonly publicKey: Buffer; readonly secretKey: Buffer },
      options: { readonly psk: Buffer },
    )
    initialise(prologue: Buffer): void
    send(payload: Buffer): Uint8Array
    recv(message: Buffer): Uint8Array
    /** The keys of both directions and the hash of the handshake, once it is over. */
    readonly tx: Uint8Array
    readonly rx: Uint8Array
    readonly hash: Uint8Array
  }
  export = Noise
}
