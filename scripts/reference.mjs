/*
 * `npm run reference`: docs/reference.md, from the doc comments of what each entry point exports. With
 * `--check` it writes nothing, and fails when the file is not what it would write. Either way it fails
 * when something exported has no doc comment.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { join, relative } from 'node:path'
import ts from 'typescript'
import { main, root, say, SetupError } from './lib/process.mjs'

const output = 'docs/reference.md'

/** Import name and source. Of uring-net itself only what node:net does not have. */
const entries = [
  ['uring-net', 'src/index.ts'],
  ['uring-net/core', 'src/core/index.ts'],
  ['uring-net/udp', 'src/udp.ts'],
  ['uring-net/serve', 'src/serve/index.ts'],
  ['uring-net/dashboard', 'src/dashboard/index.ts'],
  ['uring-net/duplex', 'src/adapters/duplex.ts'],
  ['uring-net/readiness', 'src/adapters/readiness.ts'],
]

/** What Node has in some versions only. */
const nodesOnly = /^_|^BoundSocket$/

const head = `# Reference

Everything that the entry points export, from the doc comments of the sources (\`npm run reference\` writes this page).
[api.md](api.md) shows how it is used; \`uring-net\` also exports all of \`node:net\`.
[The conformance suite](../test/compat/README.md) has a page of its own.
`

function write() {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root)
  const files = entries.map(([, file]) => join(root, file))
  const program = ts.createProgram(files, options)
  const page = new Page(program.getTypeChecker())
  for (const [name, file] of entries) page.entry(name, program.getSourceFile(join(root, file)))
  return { text: page.text(), undocumented: page.undocumented }
}

class Page {
  undocumented = []
  #checker
  #parts = [head]
  /** Where a symbol was described first. */
  #seen = new Map()

  constructor(checker) {
    this.#checker = checker
  }

  text() {
    return `${this.#parts.join('\n').trimEnd()}\n`
  }

  entry(name, file) {
    this.#parts.push(`## \`${name}\`\n`)
    const module = this.#checker.getSymbolAtLocation(file)
    const exported = this.#checker.getExportsOfModule(module).map((symbol) => ({
      name: symbol.name,
      symbol: symbol.flags & ts.SymbolFlags.Alias ? this.#checker.getAliasedSymbol(symbol) : symbol,
    }))
    const isNodes = (one) => name === 'uring-net' && (one in net || nodesOnly.test(one))
    const ours = exported.filter(
      ({ symbol, name: one }) => isOurs(symbol) && one !== 'default' && !isNodes(one),
    )
    for (const one of [...ours].sort((a, b) => compare(a.name, b.name))) this.#export(one, name)
  }

  #export({ name, symbol }, entry) {
    const before = this.#seen.get(symbol)
    this.#parts.push(`### ${name}\n`)
    if (before !== undefined) {
      this.#parts.push(`As in \`${before}\`.\n`)
      return
    }
    this.#seen.set(symbol, entry)
    const declaration = symbol.declarations.find((one) => !ts.isExportSpecifier(one))
    this.#describe(symbol, name, heading(declaration, name, this.#checker, symbol))
    if (ts.isClassDeclaration(declaration) || ts.isInterfaceDeclaration(declaration)) {
      this.#members(symbol, name)
    }
  }

  #members(symbol, owner) {
    const members = this.#checker
      .getPropertiesOfType(this.#checker.getDeclaredTypeOfSymbol(symbol))
      .filter((member) => isOurs(member) && isPublic(member))
    if (members.length === 0) return
    const lines = members.map((member) => {
      const code = member.declarations.map((one) => flat(signature(one))).join('; ')
      const text = this.#textOf(member, `${owner}.${memberName(member)}`)
      return text === '' ? `- \`${code}\`` : `- \`${code}\`: ${flat(text)}`
    })
    this.#parts.push(`${lines.join('\n')}\n`)
  }

  #describe(symbol, name, code) {
    this.#parts.push(`\`\`\`ts\n${code}\n\`\`\`\n`)
    const text = this.#textOf(symbol, name)
    if (text !== '') this.#parts.push(`${text}\n`)
  }

  #textOf(symbol, name) {
    const text = ts.displayPartsToString(symbol.getDocumentationComment(this.#checker)).trim()
    if (text === '' && !isPlain(symbol)) {
      const { fileName } = symbol.declarations[0].getSourceFile()
      this.undocumented.push(`${name} (${relative(root, fileName)})`)
    }
    return text
  }
}

const flat = (text) => text.replace(/\s+/g, ' ')
const compare = (a, b) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1)

function isOurs(symbol) {
  const files = symbol.declarations?.map((one) => one.getSourceFile().fileName) ?? []
  return files.some((file) => file.startsWith(join(root, 'src/')))
}

function isPublic(symbol) {
  const isHidden = symbol.declarations.some(
    (one) =>
      ts.getCombinedModifierFlags(one) & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected) ||
      ts.getJSDocTags(one).some(({ tagName }) => tagName.text === 'internal'),
  )
  return !isHidden && !symbol.name.includes('#')
}

/** What every reader knows: the protocols of iteration and disposal. */
function isPlain(symbol) {
  return symbol.name.startsWith('__@')
}

function memberName(symbol) {
  const { name } = symbol.declarations[0]
  return name?.getText() ?? symbol.name
}

/** A declaration without its body. */
function signature(declaration) {
  const text = declaration.getText()
  const { body, initializer } = declaration
  const end = body ?? initializer
  if (end === undefined) return tidy(text)
  const before = text.slice(0, end.getStart() - declaration.getStart())
  return tidy(before.replace(/=\s*$/, ''))
}

function tidy(text) {
  return text.replace(/^(export |async |public |override )+/, '').trim()
}

function heading(declaration, name, checker, symbol) {
  if (ts.isFunctionDeclaration(declaration)) return signature(declaration)
  if (ts.isVariableDeclaration(declaration)) {
    const type = checker.typeToString(checker.getTypeOfSymbol(symbol))
    return `const ${name}: ${type}`
  }
  if (ts.isTypeAliasDeclaration(declaration)) return tidy(declaration.getText())
  const kind = ts.isClassDeclaration(declaration) ? 'class' : 'interface'
  const heritage = (declaration.heritageClauses ?? []).map((one) => ` ${one.getText()}`).join('')
  const parameters = (declaration.typeParameters ?? []).map((one) => one.getText()).join(', ')
  return `${kind} ${name}${parameters === '' ? '' : `<${parameters}>`}${heritage}`
}

await main(async (args) => {
  const { text, undocumented } = write()
  if (undocumented.length > 0) {
    throw new SetupError(`no doc comment:\n  ${undocumented.join('\n  ')}`)
  }
  const path = join(root, output)
  const isCurrent = existsSync(path) && readFileSync(path, 'utf8') === text
  if (args.includes('--check')) {
    if (!isCurrent) throw new SetupError(`${output} is not current; run: npm run reference`)
  } else {
    writeFileSync(path, text)
    say(`${output}: ${text.split('\n').length} lines`)
  }
})
