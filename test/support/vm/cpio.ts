/** The archive format of initial RAM disks (Documentation/driver-api/early-userspace/buffer-format.rst): `newc`, hex digits in ASCII. */

/** A folder, a file or a symbolic link; folders come before what is in them. */
export interface Entry {
  /** Without a leading slash. */
  readonly path: string
  readonly content:
    | { readonly kind: 'folder' }
    | { readonly kind: 'file'; readonly bytes: Uint8Array }
    | { readonly kind: 'link'; readonly to: string }
}

const MAGIC = '070701'
const ALIGNMENT = 4
const MODES = { folder: 0o040755, file: 0o100755, link: 0o120777 } as const
const END = 'TRAILER!!!'

/** Files are executable and belong to root. */
export function packCpio(entries: readonly Entry[]): Uint8Array {
  const packed = entries.map(({ path, content }, index) => pack(path, MODES[content.kind], index + 1, bytesOf(content)))
  return Buffer.concat([...packed, pack(END, 0, 0, Buffer.alloc(0))])
}

function bytesOf(content: Entry['content']): Uint8Array {
  switch (content.kind) {
    case 'folder':
      return Buffer.alloc(0)
    case 'file':
      return content.bytes
    case 'link':
      return Buffer.from(content.to)
  }
}

function pack(path: string, mode: number, inode: number, bytes: Uint8Array): Uint8Array {
  const name = Buffer.from(`${path}\0`)
  const [links, owner, time, device] = [1, 0, 0, 0]
  const fields = [inode, mode, owner, owner, links, time, bytes.length, device, device, device, device, name.length, 0]
  const head = Buffer.from(MAGIC + fields.map((field) => field.toString(16).padStart(8, '0')).join(''))
  return Buffer.concat([padded(Buffer.concat([head, name])), padded(bytes)])
}

function padded(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & (ALIGNMENT - 1))])
}
