/** Golden bytes: files of hex digits under test/vectors, with a comment from each `#` to the end of its line. */
import { readFileSync } from 'node:fs'
import { fromHex } from '../../mesh/base/bytes.ts'

/** @param path from test/vectors, without its ending. */
export function vector(path: string): Uint8Array {
  const text = readFileSync(new URL(`../vectors/${path}.txt`, import.meta.url), 'utf8')
  return fromHex(text.replace(/#.*$/gm, '').replace(/\s/g, ''))
}
