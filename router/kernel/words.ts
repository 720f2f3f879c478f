/** Command lines for error messages. */

/** Joins words; a pair is left out when its value is undefined, a word when it is empty. */
export function words(...parts: readonly (string | readonly [string, string | number | undefined])[]): string {
  return parts
    .map((part) => (typeof part === 'string' ? part : part[1] === undefined ? '' : `${part[0]} ${part[1]}`))
    .filter((part) => part !== '')
    .join(' ')
}
