/**
 * The gRPC service that server and load share: one unary call that answers with the bytes it was given. It has no
 * .proto file, so that what is measured is gRPC on HTTP/2 and not the encoding of messages.
 */
import type { MethodDefinition } from '@grpc/grpc-js'

const same = (bytes: Buffer): Buffer => bytes

const echo: MethodDefinition<Buffer, Buffer> = {
  path: '/bench.Echo/Echo',
  requestStream: false,
  responseStream: false,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
}

export const echoService = { echo }
