/** Many tasks, a few at a time. */

/**
 * `work` on each item, at most `limit` at once; the answers are in the order of the items. When one fails no further
 * one begins, those under way are waited for, and the first failure is thrown.
 */
export async function mapBounded<T, R>(items: readonly T[], limit: number, work: (item: T, index: number) => Promise<R>): Promise<R[]> {
  const answers: R[] = new Array<R>(items.length)
  const failures: unknown[] = []
  const queue = items.entries()
  async function worker(): Promise<void> {
    for (const [index, item] of queue) {
      try {
        answers[index] = await work(item, index)
      } catch (error) {
        failures.push(error)
      }
      if (failures.length > 0) return
    }
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker))
  if (failures.length > 0) throw failures[0]
  return answers
}
