/** Text that other peers choose and people read: nothing in it may move a cursor or forge a line of a log. */

const UNPRINTABLE = /[^\x20-\x7e\u00a0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd]/gu
const INVISIBLE = /[\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/gu

/** At least one character, at most `lengthMax`, all of them visible or a space. */
export function isPrintable(text: string, lengthMax: number): boolean {
  return text.length > 0 && text.length <= lengthMax && printable(text, lengthMax) === text
}

/** `text` with every character that is not printable as `?`, cut to `lengthMax`. */
export function printable(text: string, lengthMax: number): string {
  return text.slice(0, lengthMax).replace(UNPRINTABLE, '?').replace(INVISIBLE, '?')
}
