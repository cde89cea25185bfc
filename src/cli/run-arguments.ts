/**
 * Reads the command line of `uring-net run`. Takes its own options out and leaves everything else to Node as it is: which of
 * Node's options take a value differs between versions, so only Node can tell where its options end. Starts nothing.
 */
import { UsageError } from './command'

const wishes = ['auto', 'uring', 'epoll', 'node']

export interface RunArguments {
  help: boolean
  /** For URING_NET_DRIVER; undefined leaves the environment as it is. */
  driver: string | undefined
  /** For Node: its options, the app, the app's arguments. */
  forNode: string[]
  /** The app, where it is certain that this is it: without options before it. */
  app: string | undefined
}

/** Options of ours are looked for up to the first argument that is no option, or `--`. */
export function parseRunArguments(args: readonly string[]): RunArguments {
  const parsed: RunArguments = { help: false, driver: undefined, forNode: [], app: undefined }
  let at = 0
  for (; at < args.length; at++) {
    const arg = args[at]!
    if (arg === '--help' || arg === '-h') return { ...parsed, help: true }
    if (arg === '--driver') parsed.driver = wish(args[++at])
    else if (arg.startsWith('--driver=')) parsed.driver = wish(arg.slice('--driver='.length))
    else if (arg.startsWith('-') && arg !== '-' && arg !== '--') parsed.forNode.push(arg)
    else break
  }
  const rest = args.slice(at)
  // `--` goes on to Node, where it means the same: what follows is the app, whatever it looks like.
  const app = rest[0] === '--' ? rest[1] : rest[0]
  if (app !== '-' && parsed.forNode.length === 0) parsed.app = app
  if (rest[0] === '--' && app === undefined) rest.shift()
  parsed.forNode.push(...rest)
  if (parsed.forNode.length === 0) throw new UsageError('run: the app is missing')
  return parsed
}

function wish(value: string | undefined): string {
  if (value !== undefined && wishes.includes(value)) return value
  const given = value === undefined ? 'it has no value' : `'${value}' is none`
  throw new UsageError(`run: --driver takes one of ${wishes.join(', ')}; ${given}`)
}
