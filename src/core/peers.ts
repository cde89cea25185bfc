/**
 * The addresses that datagrams come from and go to, each made out once: the words that the kernel takes, and the text that
 * people read. Owns a table of fixed size, so that many peers cost no more memory than few.
 */
import { ADDRESS_WORDS, DATAGRAM_NAME_OFFSET, Family } from './binding'
import type { NativeAddresses, SocketName } from './binding'

/** AF_INET, socket(2). */
const inet = 2

/** A power of two. */
const slots = 4096

export class Peer {
  readonly address: string
  readonly port: number
  readonly family: 'IPv4' | 'IPv6'
  /** See ADDRESS_WORDS. */
  readonly words: Int32Array
  readonly a: number
  readonly b: number
  readonly c: number
  readonly d: number
  readonly e: number
  readonly f: number

  constructor({ address, port, family }: SocketName, words: Int32Array) {
    this.address = address
    this.port = port
    this.family = family
    this.words = words.slice()
    this.a = words[0]!
    this.b = words[1]!
    this.c = words[2]!
    this.d = words[3]!
    this.e = words[4]!
    this.f = words[5]!
  }
}

export class Peers {
  readonly #native: NativeAddresses
  /** By their words: one for each place, the latest. */
  readonly #seen: (Peer | undefined)[] = new Array<Peer | undefined>(slots).fill(undefined)
  /** By address and port as text. */
  readonly #named = new Map<string, Map<number, Peer>>()
  #namedCount = 0
  readonly #words = new Int32Array(ADDRESS_WORDS)

  constructor(native: NativeAddresses) {
    this.#native = native
  }

  /** Who sent the datagram whose header is at `start`. */
  senderOf(bytes: Buffer, start = 0): Peer {
    const at = start + DATAGRAM_NAME_OFFSET
    const a = bytes.readInt32LE(at)
    if ((a & 0xffff) === inet) return this.#at(a, bytes.readInt32LE(at + 4), 0, 0, 0, 0)
    // At 4 is the flow label.
    return this.#at(
      a,
      bytes.readInt32LE(at + 8),
      bytes.readInt32LE(at + 12),
      bytes.readInt32LE(at + 16),
      bytes.readInt32LE(at + 20),
      bytes.readInt32LE(at + 24),
    )
  }

  #at(a: number, b: number, c: number, d: number, e: number, f: number): Peer {
    const mixed = Math.imul(a ^ c ^ (d << 7) ^ f, 0x85ebca6b) ^ Math.imul(b ^ (e << 3), 0x9e3779b1)
    const place = (mixed ^ (mixed >>> 15)) & (slots - 1)
    const seen = this.#seen[place]
    if (
      seen !== undefined &&
      seen.a === a &&
      seen.b === b &&
      seen.c === c &&
      seen.d === d &&
      seen.e === e &&
      seen.f === f
    ) {
      return seen
    }
    this.#words.set([a, b, c, d, e, f])
    const name: SocketName = { address: '', port: 0, family: 'IPv4' }
    this.#native.formatAddress(this.#words, name)
    const peer = new Peer(name, this.#words)
    this.#seen[place] = peer
    return peer
  }

  /** A peer that was named so before. */
  known(address: unknown, port: unknown): Peer | undefined {
    return this.#named.get(address as string)?.get(port as number)
  }

  /** The peer that is to be known by `address`, which is `literal` as this family has it. -errno when that is none. */
  name(family: 'inet' | 'inet6', address: string, literal: string, port: number): Peer | number {
    const status = this.#native.parseAddress(Family[family], literal, port, this.#words)
    if (status < 0) return status
    const name: SocketName = { address, port, family: family === 'inet' ? 'IPv4' : 'IPv6' }
    const made = new Peer(name, this.#words)
    if (this.#namedCount >= slots) {
      this.#named.clear()
      this.#namedCount = 0
    }
    this.#namedCount++
    const ports = this.#named.get(address)
    if (ports === undefined) this.#named.set(address, new Map([[port, made]]))
    else ports.set(port, made)
    return made
  }
}
