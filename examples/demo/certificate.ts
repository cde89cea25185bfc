/**
 * A self-signed certificate made in this process: an EC P-256 key and an X.509 v3 certificate written in DER by hand,
 * so that TLS works at once without a network, the openssl program or a dependency. Owns nothing that outlives the
 * call; never writes the key anywhere. For demonstrations only: nobody vouches for it.
 */
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { isIP } from 'node:net'

export interface Certificate {
  /** PEM. */
  key: string
  /** PEM. */
  cert: string
  /** SHA-256 of the DER, as browsers show it. */
  fingerprint: string
}

const DAY_MS = 86_400_000

/** X.690 tags as RFC 5280 appendix A uses them. */
const Tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const

/** Makes a certificate valid for `names` (DNS names and IP literals) from yesterday for 30 days. */
export function createCertificate(names: readonly string[]): Certificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const now = Date.now()
  // RFC 5758 3.2: ecdsa-with-SHA256 carries no parameters.
  const algorithm = sequence(oid('1.2.840.10045.4.3.2'))
  const name = commonName('uring-net demo')
  // RFC 5280 4.1.2: the fields of TBSCertificate, in this order.
  const body = sequence(
    // version [0] EXPLICIT: v3 (2), because extensions are present
    der(0xa0, der(Tag.integer, Buffer.from([2]))),
    serialNumber(),
    algorithm,
    name,
    // One day of slack for clocks that disagree.
    sequence(time(new Date(now - DAY_MS)), time(new Date(now + 30 * DAY_MS))),
    name,
    publicKey.export({ format: 'der', type: 'spki' }),
    der(0xa3, sequence(...extensions(names))),
  )
  // RFC 3279 2.2.3: the ECDSA signature is itself DER, wrapped in a bit string.
  const whole = sequence(body, algorithm, bitString(sign('sha256', body, privateKey)))
  return {
    key: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    cert: pem(whole),
    fingerprint: createHash('sha256')
      .update(whole)
      .digest('hex')
      .toUpperCase()
      .replace(/..(?=.)/g, '$&:'),
  }
}

/** RFC 5280 4.2.1: what the key may be used for, and by which names it may be reached. */
function extensions(names: readonly string[]): Buffer[] {
  return [
    // 4.2.1.9 basicConstraints, critical; an empty sequence means cA FALSE
    extension('2.5.29.19', true, sequence()),
    // 4.2.1.3 keyUsage, critical: digitalSignature is bit 0, hence 7 unused bits
    extension('2.5.29.15', true, der(Tag.bitString, Buffer.from([7, 0x80]))),
    // 4.2.1.12 extKeyUsage: id-kp-serverAuth
    extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.1'))),
    // 4.2.1.6 subjectAltName
    extension('2.5.29.17', false, sequence(...names.map(generalName))),
  ]
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  // DER leaves out a value that equals its default, and critical defaults to FALSE.
  const flag = critical ? [der(Tag.boolean, Buffer.from([0xff]))] : []
  return sequence(oid(id), ...flag, der(Tag.octetString, value))
}

/** RFC 5280 4.2.1.6: dNSName is [2] IA5String, iPAddress is [7] with 4 or 16 octets. */
function generalName(name: string): Buffer {
  if (isIP(name) === 0) return der(0x82, Buffer.from(name, 'ascii'))
  return der(0x87, isIP(name) === 4 ? Buffer.from(name.split('.').map(Number)) : ipv6Octets(name))
}

function ipv6Octets(address: string): Buffer {
  // The URL parser (WHATWG) writes every form, an embedded IPv4 address too, as hexadecimal groups.
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::')
  const groups = (text: string) => (text === '' ? [] : text.split(':'))
  const left = groups(head)
  const right = groups(tail ?? '')
  const zeros = new Array<string>(8 - left.length - right.length).fill('0')
  return Buffer.from(
    [...left, ...zeros, ...right].map((group) => group.padStart(4, '0')).join(''),
    'hex',
  )
}

/** RFC 5280 4.1.2.2: positive, at most 20 octets; random so that a browser never meets the same pair twice. */
function serialNumber(): Buffer {
  const bytes = randomBytes(16)
  // Top bit clear keeps it positive, next bit set keeps it minimal.
  bytes[0] = (bytes[0]! & 0x3f) | 0x40
  return der(Tag.integer, bytes)
}

/** RFC 5280 4.1.2.4: a Name of one RDN with id-at-commonName. */
function commonName(text: string): Buffer {
  return sequence(der(Tag.set, sequence(oid('2.5.4.3'), der(Tag.utf8String, Buffer.from(text)))))
}

/** RFC 5280 4.1.2.5: UTCTime through 2049, GeneralizedTime after; always in seconds and Z. */
function time(date: Date): Buffer {
  const text = date.toISOString().replace(/\.\d+|[-:T]/g, '')
  return date.getUTCFullYear() < 2050
    ? der(Tag.utcTime, Buffer.from(text.slice(2)))
    : der(Tag.generalizedTime, Buffer.from(text))
}

function sequence(...parts: Buffer[]): Buffer {
  return der(Tag.sequence, Buffer.concat(parts))
}

function bitString(bytes: Buffer): Buffer {
  return der(Tag.bitString, Buffer.concat([Buffer.from([0]), bytes]))
}

/** X.690 8.19: the first two arcs share an octet, the others are base 128 with continuation bits. */
function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const octets = [first * 40 + second]
  for (const arc of rest) {
    const digits = [arc & 0x7f]
    for (let left = arc >>> 7; left > 0; left >>>= 7) digits.unshift((left & 0x7f) | 0x80)
    octets.push(...digits)
  }
  return der(Tag.oid, Buffer.from(octets))
}

/** X.690 10.1: definite length in the fewest octets. */
function der(tag: number, content: Buffer): Buffer {
  const length: number[] = []
  for (let left = content.length; left > 0; left >>>= 8) length.unshift(left & 0xff)
  const header =
    content.length < 0x80 ? [tag, content.length] : [tag, 0x80 | length.length, ...length]
  return Buffer.concat([Buffer.from(header), content])
}

/** RFC 7468: 64 characters a line. */
function pem(bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? []
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n')
}
