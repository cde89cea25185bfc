/**
 * Node's permission model, asked as node:net asks it: what opens a connection or listens needs the scope `net`, which Node 25
 * brought. https://nodejs.org/api/permissions.html
 */

interface Permission {
  has(scope: string): boolean
}

/** Nodes that do not know the scope answer false to it. */
const knowsNet = process.allowedNodeEnvironmentFlags.has('--allow-net')

/** Throws Node's ERR_ACCESS_DENIED when the program may not use the network. Asked each time: a permission can be dropped. */
export function requireNet(resource = ''): void {
  const { permission } = process as { permission?: Permission }
  if (!knowsNet || permission === undefined || permission.has('net')) return
  const message = 'Access to this API has been restricted. Use --allow-net to manage permissions.'
  throw Object.assign(new Error(message), {
    code: 'ERR_ACCESS_DENIED',
    permission: 'Net',
    resource,
  })
}
