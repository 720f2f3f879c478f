/** Plants a fault in a copy of the parts of the tree that a hunt runs. */
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface Mutant {
  readonly name: string
  readonly file: string
  /** Occurs once in the file. */
  readonly from: string
  readonly to: string
}

const root = fileURLToPath(new URL('../..', import.meta.url))

/** A copy of `folders` with the fault in it; below `build`, so that packages are found. */
export async function plant(
  { name, file, from, to }: Mutant,
  folders: readonly string[],
): Promise<AsyncDisposable & { readonly path: string }> {
  await mkdir(join(root, 'build'), { recursive: true })
  const path = await mkdtemp(join(root, 'build', 'mutant-'))
  await using undo = new AsyncDisposableStack()
  undo.defer(() => rm(path, { recursive: true }))
  for (const folder of folders) await cp(join(root, folder), join(path, folder), { recursive: true })
  await cp(join(root, 'package.json'), join(path, 'package.json'))
  const source = await readFile(join(path, file), 'utf8')
  if (source.split(from).length !== 2) throw new Error(`the place for "${name}" is not to be found once in ${file}`)
  await writeFile(join(path, file), source.replace(from, to))
  const planted = undo.move()
  return { path, [Symbol.asyncDispose]: () => planted.disposeAsync() }
}
