/**
 * The demo's command line: turns arguments into options and says what is wrong with them. Never touches a socket.
 */
import { parseArgs } from 'node:util'

/** The listeners that have a port, in the order in which they are printed. */
export type PortName = 'http' | 'https' | 'h2c' | 'tcp' | 'tls'

export interface Options {
  host: string
  /** 0 = any free port. */
  ports: Record<PortName, number>
  /** End after the self-check. */
  checkOnly: boolean
  /** Run the self-check at all. */
  check: boolean
  help: boolean
}

/** The flag that changes each port, also named in the message about a port in use. */
export const portFlags: Record<PortName, string> = {
  http: '--port',
  https: '--https-port',
  h2c: '--h2c-port',
  tcp: '--tcp-port',
  tls: '--tls-port',
}

const defaultPorts: Record<PortName, number> = {
  http: 8080,
  https: 8443,
  h2c: 8081,
  tcp: 7000,
  tls: 7443,
}

export const usage = `Usage: npm start -- [options]

  --check            check every protocol, print the table, end (ports: any free ones)
  --no-check         do not check first
  --host <address>   where to listen (default 127.0.0.1, and ::1 for the raw TCP echo)
  --port <n>         HTTP/1.1 and WebSocket (default ${defaultPorts.http})
  --https-port <n>   HTTPS and HTTP/2 (default ${defaultPorts.https})
  --h2c-port <n>     HTTP/2 without TLS (default ${defaultPorts.h2c})
  --tcp-port <n>     raw TCP echo (default ${defaultPorts.tcp})
  --tls-port <n>     raw TLS echo (default ${defaultPorts.tls})
  --any-port         any free port for each listener that is not given one
  --help             this text

  URING_NET_DRIVER=auto|uring|epoll|node chooses the driver.`

/** Reads the arguments after the script's name; throws an Error whose message can be shown as it is. */
export function parseOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      check: { type: 'boolean', default: false },
      'no-check': { type: 'boolean', default: false },
      host: { type: 'string', default: '127.0.0.1' },
      port: { type: 'string' },
      'https-port': { type: 'string' },
      'h2c-port': { type: 'string' },
      'tcp-port': { type: 'string' },
      'tls-port': { type: 'string' },
      'any-port': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.check && values['no-check'])
    throw new Error('--check and --no-check exclude each other')
  const free = values.check || values['any-port']
  const port = (name: PortName, given: string | undefined) =>
    given === undefined ? (free ? 0 : defaultPorts[name]) : parsePort(name, given)
  return {
    host: values.host,
    ports: {
      http: port('http', values.port),
      https: port('https', values['https-port']),
      h2c: port('h2c', values['h2c-port']),
      tcp: port('tcp', values['tcp-port']),
      tls: port('tls', values['tls-port']),
    },
    checkOnly: values.check,
    check: !values['no-check'],
    help: values.help,
  }
}

function parsePort(name: PortName, text: string): number {
  const port = Number(text)
  if (/^\d+$/.test(text) && port <= 65535) return port
  throw new Error(`${portFlags[name]} takes a number from 0 to 65535, not '${text}'`)
}
