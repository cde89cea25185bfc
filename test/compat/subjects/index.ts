/**
 * The built-in subjects of each driver. Owns the choice; the library is loaded here and nowhere else, when it is asked
 * for, since its driver is chosen once in a process.
 */
import * as nodeNet from 'node:net'
import type { toDuplex } from '../../../src/adapters/duplex'
import type { toReadiness } from '../../../src/adapters/readiness'
import type * as core from '../../../src/core/index'
import type * as library from '../../../src/index'
import type { Subject } from '../subject'
import { ReadinessDuplex, corePairs } from './adapters'
import { libuvKeepsReferences, nodeNet as oracle } from './node-net'
import { freshPath, tcpPairs } from './pairs'
import type { NetModule } from './pairs'
import { duplexPairs, memoryPairs } from './plain-duplex'
import { tlsPairs } from './tls'

/** Of 'uring', 'epoll' or 'node'. Throws when the library of this process runs on another driver. */
export function builtInSubjects(driver: string): Subject[] {
  if (driver === 'node') return nodeSubjects()
  if (driver !== 'uring' && driver !== 'epoll') throw new Error(`there is no driver ${driver}`)
  return driverSubjects(driver)
}

const tcp = { socket: true, halfOpen: true, kernel: true, reset: true }
/** unix(7): no addresses, no resets. */
const unix = { socket: true, halfOpen: true, kernel: true }
const tls = { socket: true, halfOpen: true, tls: true }
const duplex = { halfOpen: true }

function nodeSubjects(): Subject[] {
  return [
    oracle,
    ...socketSubjects('node:net', nodeNet).slice(1),
    { name: 'plain Duplex', capabilities: duplex, makePair: memoryPairs },
    {
      name: 'TLS over a plain Duplex (JSStreamSocket)',
      capabilities: { halfOpen: true, tls: true },
      makePair: tlsPairs(duplexPairs(oracle.makePair), 'server'),
      knownFailures: {
        'E1-1': "JSStreamSocket is closed with the stream below it: 'close' comes before 'finish'",
        'C4-6':
          "JSStreamSocket answers the peer's end by closing: 'finish' after 'close', or queued bytes lost",
      },
      racyFailures: {
        'R1-54':
          'JSStreamSocket closes when one direction has ended: the rest of the other one is lost',
      },
    },
  ]
}

function driverSubjects(driver: 'uring' | 'epoll'): Subject[] {
  const loaded = load()
  if (loaded.driver.name !== driver) {
    throw new Error(
      `the subjects of ${driver} were asked for, but this process runs on ${loaded.driver.name}: ` +
        `${loaded.driver.reason} (URING_NET_DRIVER decides)`,
    )
  }
  const net = loaded.net as unknown as typeof nodeNet
  return [
    ...socketSubjects(driver, net),
    {
      name: `${driver} to ${driver}`,
      capabilities: tcp,
      makePair: tcpPairs(net, net),
      knownFailures: libuvKeepsReferences,
    },
    {
      name: `${driver} Duplex`,
      capabilities: { ...duplex, copies: true },
      makePair: corePairs(loaded.core, loaded.toDuplex),
    },
    {
      name: `${driver} readiness`,
      capabilities: duplex,
      makePair: corePairs(
        loaded.core,
        (connection, options) => new ReadinessDuplex(loaded.toReadiness(connection), options),
      ),
    },
  ]
}

type KnownFailures = Record<string, string>

const nodeMajor = Number(process.versions.node.split('.')[0])

/** A TLSSocket is Node's own class, whatever it stands on. */
const tlsFailures: KnownFailures =
  nodeMajor < 26
    ? {}
    : {
        'R3-3':
          'TLSWrap of Node 26 hands out parts of one memory for all connections: transferred, it is gone for all',
        'R3-4': 'TLSWrap of Node 26 hands out parts of one memory for all connections',
      }

/** The sockets of `net`; their peers are node:net's. */
function socketSubjects(name: string, net: typeof nodeNet): Subject[] {
  const accepted = tcpPairs(net, nodeNet)
  const connecting = tcpPairs(nodeNet, net, { clientIsJudged: true })
  const knownFailures = libuvKeepsReferences
  return [
    { name, capabilities: { ...tcp, module: true }, makePair: accepted, net, knownFailures },
    { name: `${name} connecting`, capabilities: tcp, makePair: connecting, knownFailures },
    {
      name: `${name} Unix`,
      capabilities: unix,
      makePair: tcpPairs(net, nodeNet, { path: freshPath }),
      knownFailures,
    },
    {
      name: `TLS server over ${name}`,
      capabilities: tls,
      makePair: tlsPairs(accepted, 'server'),
      knownFailures: tlsFailures,
    },
    {
      name: `TLS client over ${name}`,
      capabilities: tls,
      makePair: tlsPairs(connecting, 'client'),
      knownFailures: tlsFailures,
    },
  ]
}

interface Library {
  driver: typeof library.driver
  net: NetModule
  core: typeof core
  toDuplex: typeof toDuplex
  toReadiness: typeof toReadiness
}

function load(): Library {
  /* eslint-disable @typescript-eslint/no-require-imports -- only when asked for, and the same for all subjects */
  const net = require('../../../src/index') as typeof library
  return {
    driver: net.driver,
    net: net as unknown as NetModule,
    core: require('../../../src/core/index') as typeof core,
    ...(require('../../../src/adapters/duplex') as { toDuplex: typeof toDuplex }),
    ...(require('../../../src/adapters/readiness') as { toReadiness: typeof toReadiness }),
  }
  /* eslint-enable @typescript-eslint/no-require-imports */
}
