/** Answers that are awaited by number: a request goes in, a promise comes out, and an effect settles it later. */

export class Awaited<T> {
  readonly #waiting = new Map<number, (result: T) => void>()

  /** @param request a number that nobody waits for. */
  wait(request: number): Promise<T> {
    return new Promise((resolve) => this.#waiting.set(request, resolve))
  }

  settle({ request, result }: { readonly request: number; readonly result: T }): void {
    this.#waiting.get(request)?.(result)
    this.#waiting.delete(request)
  }

  settleAll(result: T): void {
    for (const request of this.#waiting.keys()) this.settle({ request, result })
  }
}
