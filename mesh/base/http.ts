/**
 * Node's web server and client. An `import` of node:http reads every export of it, which loads what makes its `WebSocket`: a whole
 * second HTTP client, 7 MB of a router that nobody uses. This way only what is called is loaded; types may be imported as ever.
 */
export const http: typeof import('node:http') = process.getBuiltinModule('node:http')
