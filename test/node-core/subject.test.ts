/** What is under test is what it says: suite, binary, and a hook that does something. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { checkDriver, findBinary, findSuite, missingHelpers } from './subject'

const root = mkdtempSync(join(tmpdir(), 'node-core-test-'))

afterAll(() => rmSync(root, { recursive: true, force: true }))

function write(name: string, text: string): string {
  const file = join(root, name)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
  return file
}

describe('suite', () => {
  test('a checkout of Node.js says its version in a header', () => {
    write('node/test/common/index.js', '')
    const lines = ['MAJOR 24', 'MINOR 12', 'PATCH 0'].map((part) => {
      const [name, number] = part.split(' ')
      return `#define NODE_${name}_VERSION ${number}\n`
    })
    write('node/src/node_version.h', lines.join(''))
    const suite = { testRoot: join(root, 'node/test'), version: '24.12.0' }
    expect(findSuite(join(root, 'node'))).toEqual(suite)
    expect(findSuite(join(root, 'node/test'))).toEqual(suite)
  })

  test('the mirror of the tests says it in a file of its own, others do not', () => {
    write('mirror/test/common/index.js', '')
    expect(findSuite(join(root, 'mirror')).version).toBe('unknown')
    write('mirror/node_version.ts', '// x\nexport const version = "25.8.1";\n')
    expect(findSuite(join(root, 'mirror')).version).toBe('25.8.1')
  })

  test('a folder without tests is refused', () => {
    expect(() => findSuite(join(root, 'nowhere'))).toThrow('no test/common/index.js')
  })
})

describe('binary', () => {
  test('says its version', () => {
    expect(findBinary(process.execPath).version).toBe(process.versions.node)
  })

  test('a program is looked for where the tests look for it', () => {
    const node = write('bin/node', '')
    const binary = { file: node, version: '24.12.0', hasCallSites: true }
    expect(missingHelpers(binary)).toContain('openssl-cli')
    write('bin/openssl-cli', '')
    expect(missingHelpers(binary)).not.toContain('openssl-cli')
  })

  test('a file that does not run is refused', () => {
    expect(() => findBinary(join(root, 'nowhere'))).toThrow('does not run')
  })
})

describe('hook', () => {
  const preload = { file: write('hook.js', ''), via: 'require' } as const

  /** `streams` is what a server of node:net opens on the driver, `datagrams` what a socket of node:dgram does after it. */
  function index(name: string, streams: number, datagrams: number): string {
    const stats = `({ opened: ${streams} + ${datagrams} * asked++ })`
    const driver = `{ name: '${name}', reason: 'so', stats: () => ${stats} }`
    const source = `let asked = 0\nexports.driver = ${driver}`
    return write(`index-${name}-${streams}-${datagrams}.js`, source)
  }

  test('is believed when a server of node:net and a socket of node:dgram receive by the driver', () => {
    const file = index('uring', 1, 1)
    expect(() => checkDriver(process.execPath, preload, file, 'uring')).not.toThrow()
  })

  test('that leaves node:net as it is is refused: every test would pass', () => {
    expect(() => checkDriver(process.execPath, preload, index('uring', 0, 0), 'uring')).toThrow(
      'a server of node:net is not carried by the driver',
    )
  })

  test('that leaves node:dgram as it is is refused for the same reason', () => {
    expect(() => checkDriver(process.execPath, preload, index('uring', 1, 0), 'uring')).toThrow(
      'a socket of node:dgram is not carried by the driver',
    )
  })

  test('that fell back to another driver is refused', () => {
    expect(() => checkDriver(process.execPath, preload, index('node', 0, 0), 'epoll')).toThrow(
      'the driver is node, not epoll: so',
    )
  })

  test('that fails is refused with what it said', () => {
    const failing = { ...preload, file: write('bad.js', "throw new Error('no ring')") }
    expect(() => checkDriver(process.execPath, failing, index('uring', 1, 1), 'uring')).toThrow(
      'no ring',
    )
  })
})
