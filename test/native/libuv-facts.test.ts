/**
 * What native/libuv_stream.cc believes of libuv holds here, and is refused where it does not: its proof is built for
 * headers whose fields lie elsewhere, and run on the libuv of this Node.
 */
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { programDeadlineMs } from '../deadlines'

const run = promisify(execFile)
const native = join(__dirname, '..', '..', 'native')
const source = join(native, 'libuv_stream.cc')
const program = join(__dirname, 'libuv_facts', 'facts.cc')
const directory = mkdtempSync(join(tmpdir(), 'uring-net-libuv-'))
const isSanitized = process.env.URING_NET_SANITIZED === '1'
/** A compiler does not live well with a preloaded sanitizer; for a mutant, wild pointers are the matter. */
const plainEnv = { ...process.env, LD_PRELOAD: '' }

const flags = ['-std=c++20', '-fPIC', '-fvisibility=hidden', '-fno-exceptions']
const instrumented = isSanitized
  ? ['-g', '-O1', '-fsanitize=address,undefined', '-fno-sanitize-recover=undefined']
  : ['-O1']

/** The headers that the addon was built with; node-gyp wrote down where they are. */
function headers(): string {
  const addon = process.env.URING_NET_ADDON ?? join(native, 'build', 'Release', 'uring_net.node')
  const config = readFileSync(join(dirname(addon), '..', 'config.gypi'), 'utf8')
  const parsed = JSON.parse(config.slice(config.indexOf('{'))) as {
    variables: { nodedir: string }
  }
  return join(parsed.variables.nodedir, 'include', 'node')
}

/** What is found in `first` comes before what the headers and the project have. */
async function compile(args: string[], first = native): Promise<void> {
  const includes = [first, headers(), native].flatMap((path) => ['-I', path])
  await run('g++', [...flags, ...includes, ...args], { env: plainEnv })
}

async function inNode(code: string, addon: string, env = process.env): Promise<string> {
  const script = `const addon = require(process.argv[1]); console.log(${code})`
  const { stdout } = await run(process.execPath, ['-e', script, addon], {
    env,
    timeout: programDeadlineMs,
  })
  return stdout.trim()
}

afterAll(() => rmSync(directory, { recursive: true, force: true }))

/** Compiled once for all that is linked with it below. */
const object = join(directory, 'facts.o')

beforeAll(() => compile(['-c', ...instrumented, program, '-o', object]), 60_000)

describe('with the headers of this Node', () => {
  const addon = join(directory, 'facts.node')

  beforeAll(() => compile(['-shared', ...instrumented, source, object, '-o', addon]), 60_000)

  test('every fact holds, and the proof leaves no descriptor behind', async () => {
    const open = `require('node:fs').readdirSync('/proc/self/fd').length`
    const code = `((before) => addon.prove() ?? ${open} - before)(${open})`
    expect(await inNode(code, addon)).toBe('0')
  })

  test('a worker gets the same answer', async () => {
    const inWorker = `console.log(require(process.argv[2]).prove())`
    const options = `{ eval: true, argv: [process.argv[1]] }`
    const code = `(new (require('worker_threads').Worker)('${inWorker}', ${options}), addon.prove())`
    expect(await inNode(code, addon)).toBe('null\nnull')
  })

  test('streams are found among many, and closing ones are not', async () => {
    expect(await inNode('addon.finds()', addon)).toBe('null')
  })

  test('the rest of a send leaves in its place, or is cancelled with the stream', async () => {
    expect(await inNode('addon.rests()', addon)).toBe('null')
  })
})

/** Exchanges the first line that matches with the next that matches the other. */
function swap(text: string, first: RegExp, second: RegExp): string {
  const lines = text.split('\n')
  const a = lines.findIndex((line) => first.test(line))
  const b = lines.findIndex((line, index) => index > a && second.test(line))
  if (a === -1 || b === -1) throw new Error(`no ${a === -1 ? first : second}`)
  ;[lines[a], lines[b]] = [lines[b]!, lines[a]!]
  return lines.join('\n')
}

function replace(text: string, from: string | RegExp, to: string): string {
  const changed = text.replace(from, to)
  if (changed === text) throw new Error(`no ${from}`)
  return changed
}

type Change = (text: string) => string

/** Changes what comes after `start` only. */
function behind(start: RegExp, change: Change): Change {
  return (text) => {
    const at = text.search(start)
    if (at === -1) throw new Error(`no ${start}`)
    return text.slice(0, at) + change(text.slice(at))
  }
}

const inHandle = /define UV_HANDLE_FIELDS/
const inLoop = /^struct uv_loop_s \{/m
const inStream = /define UV_STREAM_PRIVATE_FIELDS  /
const inWrite = /define UV_WRITE_PRIVATE_FIELDS/
const queue = / struct uv__queue handle_queue|handle_queue\[2\]/

/** The last one behaves otherwise, instead of being laid out otherwise; here it is our side that does. */
const others: (readonly [title: string, file: string, change: Change])[] = [
  [
    'one more field in a handle',
    'uv.h',
    behind(inHandle, (text) => replace(text, / uv_close_cb close_cb;/, ' void* more; $&')),
  ],
  [
    'one more field in a stream',
    'uv/unix.h',
    behind(inStream, (text) => replace(text, /uv_connect_t \*connect_req;/, 'void* more; $&')),
  ],
  [
    'one more field in a write request',
    'uv/unix.h',
    behind(inWrite, (text) => replace(text, /unsigned int write_index;/, 'void* more; $&')),
  ],
  [
    'one more field in a loop',
    'uv.h',
    behind(inLoop, (text) => replace(text, / void\* internal_fields;/, ' void* more; $&')),
  ],
  [
    'handle_queue elsewhere in a handle',
    'uv.h',
    behind(inHandle, (text) => swap(text, / uv_close_cb close_cb;/, queue)),
  ],
  [
    'handle_queue elsewhere in a loop',
    'uv.h',
    behind(inLoop, (text) => swap(text, queue, / void\* internal_fields;/)),
  ],
  [
    'the newest handle at the front',
    'libuv_stream.cc',
    (text) => replace(text, /Link\* next;\n {2}Link\* prev;/, 'Link* prev;\n  Link* next;'),
  ],
  [
    'another major version',
    'libuv_stream.cc',
    (text) => replace(text, 'uv_version() >> 16 == 1', 'uv_version() >> 16 == 2'),
  ],
]

describe('is refused with a reason', () => {
  test.each(others)('%s', async (title, file, change) => {
    const own = join(directory, title.replaceAll(/\W/g, '-'))
    mkdirSync(own)
    const isHeader = file.endsWith('.h')
    if (isHeader) {
      cpSync(join(headers(), 'uv.h'), join(own, 'uv.h'))
      cpSync(join(headers(), 'uv'), join(own, 'uv'), { recursive: true })
    }
    const original = readFileSync(join(isHeader ? headers() : native, file), 'utf8')
    writeFileSync(join(own, file), change(original))
    const mutant = isHeader ? source : join(own, file)
    const addon = join(own, 'mutant.node')
    await compile(['-w', '-shared', ...instrumented, mutant, object, '-o', addon], own)
    expect(await inNode('addon.prove()', addon)).toMatch(/^\d+: /)
  })
})
