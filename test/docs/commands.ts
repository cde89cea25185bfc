/**
 * Reads the README and the pages for users as a program would: shell commands with the output they promise, TypeScript, and
 * the names that are mentioned. Never runs anything.
 */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

export const root = join(__dirname, '..', '..')
const pages = [
  'README.md',
  'SECURITY.md',
  'docs/api.md',
  'docs/benchmark.md',
  'docs/differences.md',
  'docs/drivers.md',
  'docs/limits.md',
  'docs/monitoring.md',
]
const texts = new Map(pages.map((page) => [page, readFileSync(join(root, page), 'utf8')]))
export const readme = texts.get('README.md')!
/** All pages. */
export const text = [...texts.values()].join('\n')

/** The contents of every fenced block of a language. */
export function blocks(language: string): string[] {
  const fence = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm')
  return [...text.matchAll(fence)].map(([, content]) => content!)
}

export interface Command {
  /** As printed, for bash. */
  text: string
  /** A short name. */
  title: string
  /** One for each line of output. */
  prints: (string | RegExp)[]
}

const start = /^(?:URING_NET_[A-Z_]+=\w+ )?node (?:--(?:require|import) [\w/-]+ )?-e /

/** Every `node -e` command, which ends where its quotes do, and the `# prints:` lines that follow it. */
export function commands(): Command[] {
  const found: Command[] = []
  for (const block of blocks('sh')) {
    let open: Command | null = null
    for (const line of block.trimEnd().split('\n')) {
      if (open !== null) {
        open.text += `\n${line}`
      } else if (start.test(line)) {
        open = { text: line, title: line, prints: [] }
        found.push(open)
      } else if (line.startsWith('# prints: ')) {
        found.at(-1)!.prints.push(expectation(line.slice('# prints: '.length)))
      }
      if (open !== null && isClosed(open.text)) {
        open.title = open.text.replace(/\s+/g, ' ').slice(0, 100)
        open = null
      }
    }
    if (open !== null) throw new Error(`a command never ends:\n${open.text}`)
  }
  return found
}

function isClosed(text: string): boolean {
  return (text.match(/'/g) ?? []).length % 2 === 0
}

function expectation(text: string): string | RegExp {
  const pattern = /^\/(.*)\/$/.exec(text)
  return pattern === null ? text : new RegExp(pattern[1]!)
}

/** Every script that a page tells to run. */
export function scripts(): string[] {
  const named = [...text.matchAll(/npm run ([\w:-]+)/g)].map(([, name]) => name!)
  const short = [...text.matchAll(/npm (start|test)\b/g)].map(([, name]) => name!)
  return [...new Set([...named, ...short])]
}

/** Every relative link, from the package's root. */
export function links(): string[] {
  return [...texts].flatMap(([page, content]) =>
    [...content.matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(([, target]) =>
      join(dirname(page), target!),
    ),
  )
}
