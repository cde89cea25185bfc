/**
 * Differential runs from the command line: a process for each driver, which plays the scripts and tells what disagrees with
 * node:net. Owns those processes; the rest is differential/.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'

const entry = join(__dirname, 'differential', 'main.js')

/** The exit code of the worst driver. Drivers play one after the other: a script's timing is part of it. */
export async function playOnDrivers(drivers: readonly string[], count: number): Promise<number> {
  let worst = 0
  for (const driver of drivers) worst = Math.max(worst, await playInProcess(driver, count))
  return worst
}

function playInProcess(driver: string, count: number): Promise<number> {
  const args = [...process.execArgv, entry, '--driver', driver, '--seeds', String(count)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 2, 2] })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code) => resolve(code ?? 1))
  })
}
