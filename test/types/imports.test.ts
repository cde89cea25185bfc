/**
 * The ways to import the package, type-checked against its declarations and run: in ES modules and in CommonJS, with
 * and without esModuleInterop. Owns a directory of programs; needs the compiled package (npm run build).
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as ts from 'typescript'
import { programDeadlineMs } from '../deadlines'

const root = join(__dirname, '..', '..')
const compileMs = 60_000
const nodes = (process.env['URING_NET_TEST_NODES'] ?? process.execPath).split(':')

/** Uses what it imported as a program for node:net would. */
const use = `
const server: Server = createServer((socket: Socket) => { socket.end('x') }).listen(0, () => {
  class Mine extends net.Socket {}
  const client = new Mine().connect((server.address() as net.AddressInfo).port)
  client.resume().on('close', () => server.close(() => console.log(client instanceof Socket, isIP('::1'))))
})
`
const named = `import { createServer, isIP, Server, Socket } from 'uring-net'\n`
const taken = `const { createServer, isIP, Server, Socket } = net
type Server = net.Server
type Socket = net.Socket\n`

interface Form {
  file: string
  interop: boolean
  source: string
}

const forms: Form[] = [true, false].flatMap((interop) => [
  { file: 'default.mts', interop, source: `import net from 'uring-net'\n${taken}` },
  { file: 'default.cts', interop, source: `import net from 'uring-net'\n${taken}` },
  { file: 'whole.mts', interop, source: `import * as net from 'uring-net'\n${taken}` },
  { file: 'whole.cts', interop, source: `import * as net from 'uring-net'\n${taken}` },
  { file: 'named.mts', interop, source: `${named}import * as net from 'uring-net'\n` },
  { file: 'named.cts', interop, source: `${named}import * as net from 'uring-net'\n` },
  { file: 'required.mts', interop, source: `import net = require('uring-net')\n${taken}` },
  { file: 'required.cts', interop, source: `import net = require('uring-net')\n${taken}` },
])

/** Declares tests for what it is given; that is all a runner has to do. */
const suite = `
import { checks, conformance } from 'uring-net/conformance'
import type { Check, Outcome, Pair, PairOptions, Subject } from 'uring-net/conformance'
declare function makePair(options?: PairOptions): Promise<Pair>
const subject: Subject = { name: 'mine', capabilities: { halfOpen: true }, makePair: async (options) => makePair(options) }
const names: string[] = []
conformance({ subject, test: (name: string, run: () => Promise<void>) => void names.push(name, typeof run) })
const first: Check = checks[0]!
export const told = ({ status, reason }: Outcome): string => status + reason
// @ts-expect-error -- a pair is missing
export const wrong: Subject = { name: 'mine', capabilities: {} }
console.log(first.id, names[0]!.startsWith('H-1 [required]') ? '[ready]' : names[0], names.length === checks.length * 2)
`

let directory: string

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'imports-'))
  mkdirSync(join(directory, 'node_modules'))
  symlinkSync(root, join(directory, 'node_modules', 'uring-net'))
  symlinkSync(join(root, 'node_modules', '@types'), join(directory, 'node_modules', '@types'))
})

afterAll(() => rmSync(directory, { recursive: true, force: true }))

/** What the compiler has to say. */
function compile(files: string[], interop: boolean): string[] {
  const program = ts.createProgram(files, {
    module: ts.ModuleKind.Node16,
    moduleResolution: ts.ModuleResolutionKind.Node16,
    target: ts.ScriptTarget.ES2022,
    types: ['node'],
    typeRoots: [join(directory, 'node_modules', '@types')],
    strict: true,
    esModuleInterop: interop,
    allowSyntheticDefaultImports: interop,
    skipLibCheck: false,
  })
  const { diagnostics } = program.emit()
  return [...ts.getPreEmitDiagnostics(program), ...diagnostics].map(
    ({ file, messageText }) =>
      `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`,
  )
}

describe.each([true, false])('with esModuleInterop %s', (interop) => {
  const chosen = forms.filter((form) => form.interop === interop)

  beforeAll(() => {
    for (const { file, source } of chosen) writeFileSync(join(directory, file), source + use)
  })

  test(
    'every way to import the package has the types of node:net',
    () => {
      const files = chosen.map(({ file }) => join(directory, file))
      expect(compile(files, interop)).toEqual([])
    },
    compileMs,
  )

  describe.each(nodes)('%s', (node) => {
    test.each(chosen.map(({ file }) => file))('%s runs', (file) => {
      const compiled = join(directory, file.replace(/ts$/, 'js'))
      const output = execFileSync(node, [compiled], {
        encoding: 'utf8',
        timeout: programDeadlineMs,
      })
      expect(output).toBe('true 6\n')
    })
  })

  test(
    'the conformance suite has its types, and runs, in both kinds of module',
    () => {
      const files = ['suite.mts', 'suite.cts'].map((file) => join(directory, file))
      for (const file of files) writeFileSync(file, suite)
      expect(compile(files, interop)).toEqual([])
      for (const node of nodes) {
        for (const file of files) {
          const program = file.replace(/ts$/, 'js')
          const output = execFileSync(node, [program], {
            encoding: 'utf8',
            timeout: programDeadlineMs,
          })
          expect(output).toBe('H-1 [ready] true\n')
        }
      }
    },
    compileMs,
  )

  test(
    'the compiler notices what the package does not have',
    () => {
      const file = join(directory, 'wrong.cts')
      writeFileSync(file, `import { isIPv5 } from 'uring-net'\nisIPv5('')\n`)
      expect(compile([file], interop)).toEqual([expect.stringContaining('isIPv5')])
    },
    compileMs,
  )
})
