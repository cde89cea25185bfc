/**
 * What native/libuv_stream.cc believes of libuv holds here, and is refused where it does not: its proof is built for
 * headers whose fields lie elsewhere, and run on the libuv of this Node. Scenarios of its own run beside that.
 */
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const native = join(__dirname, '..', '..', 'native')
const source = join(native, 'libuv_stream.cc')
const programs = join(__dirname, 'libuv_facts')
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
  const { stdout } = await run(process.execPath, ['-e', script, addon], { env, timeout: 15_000 })
  return stdout.trim()
}

afterAll(() => rmSync(directory, { recursive: true, force: true }))

describe('with the headers of this Node', () => {
  const proof = join(directory, 'proof.node')
  const scenarios = join(directory, 'scenarios.node')

  beforeAll(async () => {
    for (const addon of [proof, scenarios]) {
      const program = join(programs, basename(addon, '.node') + '.cc')
      await compile(['-shared', ...instrumented, source, program, '-o', addon])
    }
  }, 60_000)

  test('every fact holds, and the proof leaves no descriptor behind', async () => {
    const open = `require('node:fs').readdirSync('/proc/self/fd').length`
    const code = `((before) => addon.prove() ?? ${open} - before)(${open})`
    expect(await inNode(code, proof)).toBe('0')
  })

  test('a worker gets the same answer', async () => {
    const inWorker = `console.log(require(process.argv[2]).prove())`
    const options = `{ eval: true, argv: [process.argv[1]] }`
    const code = `(new (require('worker_threads').Worker)('${inWorker}', ${options}), addon.prove())`
    expect(await inNode(code, proof)).toBe('null\nnull')
  })

  test.each([
    ['what does not fit the limits is left to libuv', 'limits'],
    ['a write without bytes ends in its place', 'noBytes'],
    ['a write with a handle is left to libuv', 'sendHandle'],
    ['holds may be nested, and be released all together', 'holds'],
    ['the rest of a short send leaves first', 'rests'],
    ['what waits for room may be sent by us', 'room'],
    ['callbacks of writes that callbacks made come one after the other', 'inCallback'],
    ['a stream that connects is left alone', 'connecting'],
    ['any order of writes, sends and turns keeps bytes and callbacks in order', 'anyOrder'],
  ])('%s', async (_title, name) => {
    expect(await inNode(`addon.scenario('${name}')`, scenarios)).toBe('ok')
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

function replace(
  text: string,
  from: string | RegExp,
  to: string | ((...parts: string[]) => string),
): string {
  const changed = text.replace(from, to as string)
  if (changed === text) throw new Error(`no ${from}`)
  return changed
}

type Change = (text: string) => string
type Mutant = readonly [title: string, file: string, change: Change]

/** Changes what comes after `start` only. */
function behind(start: RegExp): (change: Change) => Change {
  return (change) => (text) => {
    const at = text.search(start)
    if (at === -1) throw new Error(`no ${start}`)
    return text.slice(0, at) + change(text.slice(at))
  }
}

const inHandle = behind(/define UV_HANDLE_FIELDS/)
const inStream = behind(/define UV_STREAM_PRIVATE_FIELDS  /)
const inRequest = behind(/^struct uv_write_s \{/m)
const inWrite = behind(/define UV_WRITE_PRIVATE_FIELDS/)
const inBuffer = behind(/typedef struct uv_buf_t \{/)
const inWatcher = behind(/^struct uv__io_s \{/m)
const inLoop = behind(/define UV_LOOP_PRIVATE_FIELDS/)

const otherLayouts: Mutant[] = [
  [
    'one more field in a stream',
    'uv/unix.h',
    inStream((text) => replace(text, /uv_connect_t \*connect_req;/, 'void* more; $&')),
  ],
  [
    'one more field in a write request',
    'uv/unix.h',
    inWrite((text) => replace(text, /unsigned int write_index;/, 'void* more; $&')),
  ],
  [
    'handle_queue elsewhere in a handle',
    'uv.h',
    inHandle((text) =>
      swap(text, / uv_close_cb close_cb;/, / struct uv__queue handle_queue|handle_queue\[2\]/),
    ),
  ],
  [
    'write_queue and write_completed_queue exchanged',
    'uv/unix.h',
    inStream((text) => swap(text, /write_queue\b/, /write_completed_queue\b/)),
  ],
  [
    'connect_req and shutdown_req exchanged',
    'uv/unix.h',
    inStream((text) => swap(text, /connect_req;/, /shutdown_req;/)),
  ],
  [
    'io_watcher behind write_queue',
    'uv/unix.h',
    inStream((text) => swap(text, /io_watcher;/, /write_queue\b/)),
  ],
  [
    'write_queue_size elsewhere in a stream',
    'uv.h',
    (text) => swap(text, /^ {2}size_t write_queue_size;/, /^ {2}uv_alloc_cb alloc_cb;/),
  ],
  [
    'write_index and nbufs exchanged',
    'uv/unix.h',
    inWrite((text) => swap(text, /int write_index;/, /int nbufs;/)),
  ],
  [
    'nbufs and error exchanged',
    'uv/unix.h',
    inWrite((text) => swap(text, /int nbufs;/, /int error;/)),
  ],
  [
    'the queue elsewhere in a write request',
    'uv/unix.h',
    inWrite((text) => swap(text, /queue\b/, /bufs;/)),
  ],
  [
    'bufsml before the rest of a write request',
    'uv/unix.h',
    inWrite((text) => swap(text, /queue\b/, /bufsml\[4\]/)),
  ],
  [
    'handle and send_handle exchanged',
    'uv.h',
    inRequest((text) => swap(text, / send_handle;/, / handle;/)),
  ],
  ['base and len exchanged', 'uv/unix.h', inBuffer((text) => swap(text, /base;/, /len;/))],
  [
    'pending_queue and watcher_queue of a watcher exchanged',
    'uv/unix.h',
    inWatcher((text) => swap(text, /pending_queue\b/, /watcher_queue\b/)),
  ],
  [
    'pevents and events exchanged',
    'uv/unix.h',
    inWatcher((text) => swap(text, /int pevents;/, /int events;/)),
  ],
  [
    'events and fd exchanged',
    'uv/unix.h',
    inWatcher((text) => swap(text, /int events;/, /int fd;/)),
  ],
  [
    'pending_queue and watcher_queue of the loop exchanged',
    'uv/unix.h',
    inLoop((text) => swap(text, /pending_queue\b/, /watcher_queue\b/)),
  ],
  [
    'nwatchers and nfds exchanged',
    'uv/unix.h',
    inLoop((text) => swap(text, /int nwatchers;/, /int nfds;/)),
  ],
  [
    'watchers behind nwatchers',
    'uv/unix.h',
    inLoop((text) =>
      replace(
        text,
        /(uv__io_t\*\* watchers; .*\n)(.*nwatchers;.*\n.*nfds; .*\n)/,
        (_all: string, watchers: string, counts: string) => counts + watchers,
      ),
    ),
  ],
]

/** What a libuv that behaves otherwise would come to; here it is our side that does. */
const otherBehaviour: Mutant[] = [
  [
    'prev before next in a queue',
    'libuv_stream.cc',
    (text) => replace(text, /Link\* next;\n {2}Link\* prev;/, 'Link* prev;\n  Link* next;'),
  ],
  [
    'nothing that keeps a write from leaving',
    'libuv_stream.cc',
    (text) => {
      const without = replace(text, /URING_CHECK\(stream->write_queue_size > 0\);/, '')
      return without.replaceAll(/(\+\+|--)stream->write_queue_size/g, '(void)0')
    },
  ],
  [
    'nothing that puts the stream into the pending queue',
    'libuv_stream.cc',
    (text) => replace(text, 'if (IsEmpty(pending)) Append', 'if (false) Append'),
  ],
  [
    'a sum of the queue that others take care of',
    'libuv_stream.cc',
    (text) => replace(text, 'stream->write_queue_size -= bytes;', ''),
  ],
  [
    'a watcher that stays in the queue of changes',
    'libuv_stream.cc',
    (text) => replace(text, /if \(watcher->pevents != 0 && [^;]*return;/, 'if (true) return;'),
  ],
  [
    'an error that is not told',
    'libuv_stream.cc',
    (text) => replace(text, 'request->error = error;', 'request->error = 0;'),
  ],
]

describe('is refused with a reason', () => {
  const program = join(directory, 'proof.o')
  const standard = join(directory, 'standard.h')

  beforeAll(async () => {
    await compile(['-c', join(programs, 'proof.cc'), '-o', program])
    // Most of the time is theirs.
    const includes = readFileSync(source, 'utf8').match(/^#include <(c?[a-z]+)>$/gm)!
    writeFileSync(standard, [...includes, '#include <vector>\n'].join('\n'))
    await compile(['-w', '-x', 'c++-header', standard, '-o', `${standard}.gch`])
  }, 60_000)

  test.each([...otherLayouts, ...otherBehaviour])('%s', async (title, file, change) => {
    const own = join(directory, title.replaceAll(/\W/g, '-'))
    mkdirSync(own)
    const isHeader = file.endsWith('.h')
    if (isHeader) {
      cpSync(join(headers(), 'uv.h'), join(own, 'uv.h'))
      cpSync(join(headers(), 'uv'), join(own, 'uv'), { recursive: true })
    }
    const original = readFileSync(join(isHeader ? headers() : native, file), 'utf8')
    writeFileSync(join(own, file), change(original))
    const mutant = join(isHeader ? native : own, basename(source))
    const addon = join(own, 'mutant.node')
    await compile(['-w', '-shared', '-include', standard, mutant, program, '-o', addon], own)
    expect(await inNode('addon.prove()', addon, plainEnv)).toMatch(/^\d+: /)
  })
})
