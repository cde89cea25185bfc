/*
 * Reads what the dynamic loader sees of a 64-bit little-endian ELF file: what it needs, what it
 * looks up, what it offers, and in which versions. elf(5), and the gABI for symbol versions.
 */
import { readFileSync } from 'node:fs'

const DYNAMIC = 6
const DYNSYM = 11
const VERDEF = 0x6ffffffd
const VERNEED = 0x6ffffffe
const VERSYM = 0x6fffffff
const DT_NEEDED = 1n
const machines = { 62: 'x64', 183: 'arm64' }

/**
 * `needed`: libraries. `symbols`: of each the name, whether it is defined, weak or hidden (an old
 * version), and its version with the number that the file gives it.
 */
export function readElf(path) {
  const bytes = readFileSync(path)
  if (bytes.readUInt32BE(0) !== 0x7f454c46 || bytes[4] !== 2 || bytes[5] !== 1) {
    throw new Error(`${path} is no 64-bit little-endian ELF file`)
  }
  const sections = sectionsOf(bytes)
  const ofType = (type) => sections.find((section) => section.type === type)
  const text = (table, offset) => {
    const start = sections[table].offset + offset
    return bytes.toString('latin1', start, bytes.indexOf(0, start))
  }
  return {
    arch: machines[bytes.readUInt16LE(18)],
    needed: neededOf(bytes, ofType(DYNAMIC), text),
    hasVersionNeeds: ofType(VERNEED) !== undefined,
    symbols: symbolsOf(bytes, ofType, text),
  }
}

function sectionsOf(bytes) {
  const start = Number(bytes.readBigUInt64LE(40))
  const size = bytes.readUInt16LE(58)
  return Array.from({ length: bytes.readUInt16LE(60) }, (_, index) => {
    const at = start + index * size
    const wide = (offset) => Number(bytes.readBigUInt64LE(at + offset))
    const word = (offset) => bytes.readUInt32LE(at + offset)
    return { type: word(4), offset: wide(24), size: wide(32), link: word(40), info: word(44) }
  })
}

function neededOf(bytes, dynamic, text) {
  const needed = []
  for (let at = dynamic.offset; at < dynamic.offset + dynamic.size; at += 16) {
    if (bytes.readBigInt64LE(at) !== DT_NEEDED) continue
    needed.push(text(dynamic.link, Number(bytes.readBigUInt64LE(at + 8))))
  }
  return needed
}

function symbolsOf(bytes, ofType, text) {
  const table = ofType(DYNSYM)
  const versym = ofType(VERSYM)
  const names = versionNames(bytes, ofType(VERDEF), text)
  return Array.from({ length: table.size / 24 }, (_, index) => {
    const at = table.offset + index * 24
    const version = versym === undefined ? 1 : bytes.readUInt16LE(versym.offset + index * 2)
    return {
      name: text(table.link, bytes.readUInt32LE(at)),
      isDefined: bytes.readUInt16LE(at + 6) !== 0,
      isWeak: bytes[at + 4] >> 4 === 2,
      isHidden: (version & 0x8000) !== 0,
      versionNumber: version & 0x7fff,
      version: names.get(version & 0x7fff),
    }
  }).filter(({ name }) => name !== '')
}

function versionNames(bytes, verdef, text) {
  const names = new Map()
  if (verdef === undefined) return names
  for (let at = verdef.offset, left = verdef.info; left > 0; left--) {
    const name = at + bytes.readUInt32LE(at + 12)
    names.set(bytes.readUInt16LE(at + 4), text(verdef.link, bytes.readUInt32LE(name)))
    at += bytes.readUInt32LE(at + 16)
  }
  return names
}
