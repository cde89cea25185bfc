/**
 * Runs a program that calls serve(), with its workers' modules beside it, as a process of its own on one driver. It has to end
 * by itself: a thread or a handle that is left makes it run into its deadline. Owns the files and the process.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { programDeadlineMs } from '../deadlines'
import { createCertificate } from '../../examples/demo/certificate'
import { dist } from '../e2e/program'
import type { Outcome } from '../e2e/program'

const directories: string[] = []

const pair = JSON.stringify(createCertificate(['localhost', '127.0.0.1']))

/** In scope of all modules. */
const shared = `
import { createRequire } from 'node:module'
import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import http2 from 'node:http2'
import net from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
const library = createRequire(${JSON.stringify(join(dist, 'src') + '/')})
const pair = ${pair}
const say = (...words) => library('node:fs').writeSync(1, words.join(' ') + '\\n')
`

/** In scope of the program: `worker`, the worker's module; `ask`, one request on a connection of its own or by an agent. */
const forMain = `
const { serve } = library('./serve/index.js')
const host = '127.0.0.1'
const worker = new URL('./worker.mjs', import.meta.url)
const ask = (port, path = '/', agent = false) => new Promise((resolve) => {
  const request = http.get({ port, host, path, agent }, (response) => {
    let text = ''
    response.setEncoding('utf8').on('data', (data) => (text += data))
    response.on('end', () => resolve(text)).on('error', (error) => resolve(error.code))
  })
  request.on('error', (error) => resolve(error.code))
})
const connected = async (port) => {
  const socket = net.connect(port, host)
  await once(socket, 'connect')
  return socket
}
`

/** Files by name; main.mjs is run, all others are workers' modules. What they print, and how it ends. */
export function run(driver: string, files: Record<string, string>): Promise<Outcome> {
  const directory = mkdtempSync(join(tmpdir(), 'uring-net-serve-'))
  directories.push(directory)
  for (const [name, source] of Object.entries(files)) {
    const scope = !name.endsWith('.mjs') ? '' : name === 'main.mjs' ? shared + forMain : shared
    writeFileSync(join(directory, name), scope + source)
  }
  const child = spawn(process.execPath, [join(directory, 'main.mjs')], {
    cwd: directory,
    env: { ...process.env, URING_NET_DRIVER: driver },
    timeout: programDeadlineMs,
    killSignal: 'SIGKILL',
  })
  const outcome: Outcome = { stdout: '', stderr: '', code: null }
  child.stdout.on('data', (data: Buffer) => (outcome.stdout += data.toString()))
  child.stderr.on('data', (data: Buffer) => (outcome.stderr += data.toString()))
  return new Promise((resolve) => {
    child.on('close', (code) => resolve({ ...outcome, code }))
  })
}

/** Expects it to print these lines, nothing else, and to end by itself. */
export async function expectLines(
  driver: string,
  files: Record<string, string>,
  lines: string[],
): Promise<void> {
  expect(await run(driver, files)).toEqual({
    stdout: lines.map((line) => `${line}\n`).join(''),
    stderr: '',
    code: 0,
  })
}

export function removePrograms(): void {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true })
}
