/**
 * What the README says is so: its commands print what it promises, its TypeScript has the right types, and what it names
 * exists. Runs the built package, as a reader would; owns the processes it starts.
 */
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { programDeadlineMs } from '../deadlines'
import { withTables } from '../../bench/page'
import { blocks, commands, links, readme, root, scripts, text } from './commands'

interface Manifest {
  exports: Record<string, string | Record<string, string>>
  scripts: Record<string, string>
}

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest

interface Ended {
  code: number
  output: string
  errors: string
}

function run(command: string): Promise<Ended> {
  return new Promise((resolve) => {
    // The command alone, not the shell, is what has to end: exec leaves one process to kill.
    const args = ['-c', command.replace(/^((?:\w+=\w+ )?)/, '$1exec ')]
    const options = { cwd: root, timeout: programDeadlineMs, killSignal: 'SIGKILL' } as const
    execFile('bash', args, options, (error, output, errors) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1
      resolve({ code, output, errors })
    })
  })
}

describe('a command in the README or in a page', () => {
  const all = commands()

  test('there are some, and each tells what it prints', () => {
    expect(all.length).toBeGreaterThanOrEqual(8)
    for (const { title, prints } of all)
      expect({ title, lines: prints.length }).not.toEqual({ title, lines: 0 })
  })

  test.each(all)('$title', async ({ text: command, prints }) => {
    const { code, output, errors } = await run(command)
    expect({ code, errors }).toEqual({ code: 0, errors: '' })
    const lines = output.trimEnd().split('\n')
    expect(lines).toEqual(
      prints.map((one) => (typeof one === 'string' ? one : expect.stringMatching(one))),
    )
  })
})

test('its TypeScript compiles against the built package', () => {
  const examples = blocks('ts')
  expect(examples.length).toBeGreaterThanOrEqual(2)
  const sources = new Map(
    examples.map((example, index) => [join(root, `readme-${index + 1}.mts`), example]),
  )
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
    module: ts.ModuleKind.Node16,
    moduleResolution: ts.ModuleResolutionKind.Node16,
    types: ['node'],
    strict: true,
    noEmit: true,
    skipLibCheck: true,
  }
  const host = ts.createCompilerHost(options)
  const { fileExists, getSourceFile } = host
  host.fileExists = (file) => sources.has(file) || fileExists(file)
  host.getSourceFile = (file, ...rest) => {
    const source = sources.get(file)
    if (source === undefined) return getSourceFile(file, ...rest)
    return ts.createSourceFile(file, source, {
      languageVersion: ts.ScriptTarget.ES2022,
      impliedNodeFormat: ts.ModuleKind.ESNext,
    })
  }
  host.getCurrentDirectory = () => root
  const program = ts.createProgram([...sources.keys()], options, host)
  const problems = ts
    .getPreEmitDiagnostics(program)
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))
  expect(problems).toEqual([])
}, 60_000)

describe('what the README names', () => {
  const subpaths = Object.keys(manifest.exports).filter((subpath) => subpath !== './package.json')

  test.each(subpaths)('the export %s is mentioned and built', (subpath) => {
    expect(readme).toContain(`\`uring-net${subpath.slice(1)}\``)
    for (const file of Object.values(manifest.exports[subpath]!)) {
      expect({ file, exists: existsSync(join(root, file)) }).toEqual({ file, exists: true })
    }
  })

  test('no other subpath is mentioned', () => {
    const named = [...text.matchAll(/uring-net(\/[a-z-]+)['"`]/g)].map(([, path]) => `.${path}`)
    expect([...new Set(named)].filter((subpath) => !subpaths.includes(subpath))).toEqual([])
  })

  test('every script exists', () => {
    expect(scripts().filter((name) => !(name in manifest.scripts))).toEqual([])
  })

  test('every linked file exists', () => {
    expect(links().filter((target) => !existsSync(join(root, target)))).toEqual([])
  })

  test('every code of errors.ts has its heading in docs/errors.md', () => {
    const source = readFileSync(join(root, 'src/core/errors.ts'), 'utf8')
    const pages = readFileSync(join(root, 'docs/errors.md'), 'utf8')
    const codes = [...source.matchAll(/\| '(ERR_URING_\w+)'/g)].map(([, code]) => code!)
    const headings = [...pages.matchAll(/^### `(ERR_URING_\w+)`$/gm)].map(([, code]) => code!)
    expect(headings.sort()).toEqual(codes.sort())
    expect(codes.length).toBeGreaterThan(0)
  })

  test('it is short', () => {
    expect(readme.split('\n').length).toBeLessThanOrEqual(135)
  })

  test('the tables of the benchmark are those of the recorded runs: npm run bench -- --page', () => {
    const page = readFileSync(join(root, 'docs/benchmark.md'), 'utf8')
    expect(withTables(page, join(root, 'bench/results'))).toBe(page)
    expect(() => withTables('no place', join(root, 'bench/results'))).toThrow('has no')
    expect(() => withTables(page, join(root, 'docs'))).toThrow('no whole run of Node 24')
  })
})
