/** Each way to dial our port makes the same streams. */
import { WEB_PATH } from '../../../mesh/endpoint.ts'
import { transportContract } from '../../contract/transport.ts'

transportContract('TCP', (host, port) => ({ host, port }))
transportContract('a WebSocket', (host, port) => ({ scheme: 'ws', host, port, path: WEB_PATH }))
