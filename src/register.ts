/**
 * `node --import uring-net/register app.js`: from now on the sockets and servers of this thread that are built on net.Socket
 * and net.Server (net, http, https, http2, tls, fetch) run on the active driver. Changes members of two prototypes and no
 * export, so it does not matter how a program imports them. Prints nothing; with the driver 'node' it does and loads nothing.
 */
if (process.env['URING_NET_DRIVER'] !== 'node') {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- not even node:net is loaded for nothing
  const adapter = require('./adapters/patch-globals') as typeof import('./adapters/patch-globals')
  adapter.patchGlobals()
}

export {}
