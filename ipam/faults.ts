/** The last things that went wrong, each once: for the status, where a fault repeated every second must not hide the others. */

/** A screenful. */
const FAULTS_MAX = 16

export class Faults {
  readonly #counts = new Map<string, number>()

  add(text: string): void {
    const count = this.#counts.get(text) ?? 0
    this.#counts.delete(text)
    this.#counts.set(text, count + 1)
    const [oldest] = this.#counts.keys()
    if (this.#counts.size > FAULTS_MAX && oldest !== undefined) this.#counts.delete(oldest)
  }

  /** The latest last; those seen more often with their count. */
  list(): readonly string[] {
    return [...this.#counts].map(([text, count]) => (count > 1 ? `${text} (${count} times)` : text))
  }
}
