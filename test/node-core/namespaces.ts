/**
 * Moves a run into a network and a mount namespace of its own, where the kernel lets us: nothing but a loopback device,
 * so that the tests' ports are theirs and their traffic stays here; `localhost` in both families, as the tests expect,
 * and no other name. It never changes a file outside.
 */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'

const INSIDE = 'NODE_CORE_INSIDE'

const HOSTS = '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n'
const NSSWITCH = 'passwd: files\ngroup: files\nhosts: files\n'

/** $0 is the folder with the files to show, $1 what to show common.js in place of; then comes the command. */
const ENTER = `
ip link set lo up && mount --bind "$0/hosts" /etc/hosts || exit 125
if [ -e /etc/nsswitch.conf ]; then mount --bind "$0/nsswitch.conf" /etc/nsswitch.conf || exit 125; fi
if [ -e "$0/common.js" ]; then mount --bind "$0/common.js" "$1" || exit 125; fi
shift
exec "$@"`

export function isInside(): boolean {
  return process.env[INSIDE] === '1'
}

/**
 * Runs this program again inside and resolves to its exit code; to undefined where that is not permitted.
 * `common` is the suite's test/common/index.js.
 */
export async function enter(
  common: string,
  args: readonly string[],
  needsCallSites: boolean,
): Promise<number | undefined> {
  const folder = mkdtempSync(join(tmpdir(), 'node-core-etc-'))
  try {
    writeFileSync(join(folder, 'hosts'), HOSTS)
    writeFileSync(join(folder, 'nsswitch.conf'), NSSWITCH)
    const patched = needsCallSites ? withCallSites(readFileSync(common, 'utf8')) : undefined
    if (patched !== undefined) writeFileSync(join(folder, 'common.js'), patched)
    const command = (...words: string[]) => [
      ...['--net', '--mount', 'sh', '-c', ENTER, folder, common],
      ...words,
    ]
    const trial = spawnSync('unshare', command('true'), { stdio: 'ignore' })
    if (trial.status !== 0) return undefined
    const child = spawn('unshare', command(process.execPath, ...args), {
      stdio: 'inherit',
      env: { ...process.env, [INSIDE]: '1' },
    })
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        // A terminal sends Ctrl-C to the whole foreground group: the child already has it.
        if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
      })
    }
    return await new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('exit', (code, signal) =>
        resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)),
      )
    })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * Suites from Node 22.9 on take util.getCallSites() for granted, which Node 20 lacks: their helpers then fail in place
 * of the test. They use it for a message only. Undefined when the helpers do not have that line, or no longer.
 */
export function withCallSites(source: string): string | undefined {
  const line = /^const \{ inspect, getCallSites \} = require\('(node:)?util'\)/m
  if (!line.test(source)) return undefined
  return source.replace(line, (text) =>
    text.replace('getCallSites', 'getCallSites = () => [{}, {}]'),
  )
}
