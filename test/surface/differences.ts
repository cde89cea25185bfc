/**
 * The rows whose result differs from node:net's and is meant to, each with the reason. A row listed here has to differ, so
 * that an entry goes when the difference does. Nothing belongs here that can be mended.
 */
export interface Difference {
  title: string
  reason: string
}

export const differences: readonly Difference[] = [
  {
    title: 'active resources name sockets and servers',
    reason:
      'process.getActiveResourcesInfo() lists libuv handles and requests; ours keep the loop alive through one handle of the driver',
  },
  {
    title: 'async_hooks: the types of the resources of a connection',
    reason:
      'a handle of ours is a JSSTREAM beside its TCPWRAP, and a server handle an AsyncResource beside its native TCPSERVERWRAP',
  },
  {
    title: 'tls: resetting the connection below a secure socket',
    reason:
      'the reset is told as ECONNRESET; over libuv TLSWrap has closed by then and it goes unsaid',
  },
]
