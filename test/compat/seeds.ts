/**
 * Differential runs from the command line: a process for each driver, which plays the scripts and prints what disagrees
 * with node:net, each as a program to paste. Owns those processes; what disagrees is decided in differential/.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import type * as library from '../../src/index'
import { runSeeds } from './differential/index'
import type { NetModule } from './differential/index'

/** The exit code of the worst driver. Drivers play one after the other: a script's timing is part of it. */
export async function playOnDrivers(drivers: readonly string[], count: number): Promise<number> {
  let worst = 0
  for (const driver of drivers) worst = Math.max(worst, await playInProcess(driver, count))
  return worst
}

function playInProcess(driver: string, count: number): Promise<number> {
  const env = { ...process.env, URING_NET_DRIVER: driver }
  const args = [...process.execArgv, join(__dirname, 'main.js'), '--play', String(count)]
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 2, 2] })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code) => resolve(code ?? 1))
  })
}

/** In the process of one driver. */
export async function playHere(count: number): Promise<number> {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- its driver is chosen when it is loaded
  const net = require('../../src/index') as typeof library
  const { played, found, ms } = await runSeeds({ count, net: net as unknown as NetModule })
  for (const { seed, ends, isSteady, disagreements, code } of found) {
    console.log(`\nseed ${seed} (${ends})${isSteady ? '' : ', once only'} disagrees with node:net`)
    for (const one of disagreements) console.log(`  ${JSON.stringify(one)}`)
    if (code !== '') console.log(`\n${code}`)
  }
  const steady = found.filter(({ isSteady }) => isSteady).length
  const seconds = (ms / 1000).toFixed(1)
  console.log(`${net.driver.name}: ${played} seeds played, ${steady} disagree  ${seconds} s`)
  return steady === 0 ? 0 : 1
}
