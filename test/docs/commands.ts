/**
 * Reads the README as a program would: its shell commands with the output they promise, its TypeScript, and the names it
 * mentions. Never runs anything.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export const root = join(__dirname, '..', '..')
export const readme = readFileSync(join(root, 'README.md'), 'utf8')

/** The contents of every fenced block of a language. */
export function blocks(language: string): string[] {
  const fence = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm')
  return [...readme.matchAll(fence)].map(([, content]) => content!)
}

export interface Command {
  /** As printed, for bash. */
  text: string
  /** A short name. */
  title: string
  /** One for each line of output. */
  prints: (string | RegExp)[]
}

const start = /^(?:URING_NET_DRIVER=\w+ )?node (?:--(?:require|import) [\w/-]+ )?-e /

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
    if (open !== null) throw new Error(`a command in the README never ends:\n${open.text}`)
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

/** Every script that the README tells to run. */
export function scripts(): string[] {
  const named = [...readme.matchAll(/npm run ([\w:-]+)/g)].map(([, name]) => name!)
  const short = [...readme.matchAll(/npm (start|test)\b/g)].map(([, name]) => name!)
  return [...new Set([...named, ...short])]
}

/** Every relative link. */
export function links(): string[] {
  return [...readme.matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(([, target]) => target!)
}
