/** What every disk for IPAM's journal must do. */
import { describe, expect, test } from 'vitest'
import type { Disk } from '../../ipam/disk.ts'

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))

/** @param open a handle on the same place each time, after the one before was disposed of. */
export function diskContract(name: string, open: () => Disk): void {
  describe(`${name} keeps a journal's bytes`, () => {
    const read = (): string | undefined => {
      using disk = open()
      const found = disk.read()
      return found === undefined ? undefined : Buffer.from(found).toString()
    }

    test('has none at first, then what was put there, appended, cut and put in its place', () => {
      expect(read()).toBeUndefined()
      {
        using disk = open()
        disk.replace(bytes('head'))
        disk.append(bytes('+one'))
        disk.append(bytes('+two'))
        disk.sync()
        expect(Buffer.from(disk.read() ?? []).toString()).toBe('head+one+two')
      }
      expect(read()).toBe('head+one+two')
      {
        using disk = open()
        disk.truncate(8)
        disk.append(bytes('+three'))
      }
      expect(read()).toBe('head+one+three')
      {
        using disk = open()
        disk.append(bytes('+four'))
        disk.replace(bytes('anew'))
        disk.append(bytes('+five'))
      }
      expect(read()).toBe('anew+five')
    })

    test('keeps damaged bytes in a place of their own each time', () => {
      using disk = open()
      const copies = [disk.keepDamaged(bytes('x')), disk.keepDamaged(bytes('y'))]
      expect(copies.map((copy) => copy.replace(/.*\.damaged-/, ''))).toEqual(['1', '2'])
    })

    test('has other files beside it, each by its name', () => {
      {
        using disk = open()
        disk.replace(bytes('journal'))
        using one = disk.beside('one')
        using two = disk.beside('two')
        expect([one.read(), two.read()]).toEqual([undefined, undefined])
        one.replace(bytes('first'))
        one.replace(bytes('1'))
        two.replace(bytes('2'))
      }
      {
        using disk = open()
        using one = disk.beside('one')
        using two = disk.beside('two')
        const found = [disk, one, two].map((file) => Buffer.from(file.read() ?? []).toString())
        expect(found).toEqual(['journal', '1', '2'])
      }
    })

    test('does nothing any more once it is closed', () => {
      const disk = open()
      disk.replace(bytes('head'))
      disk[Symbol.dispose]()
      expect(() => disk.append(bytes('late'))).toThrow()
      expect(read()).toBe('head')
    })
  })
}
