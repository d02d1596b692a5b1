// Loaded before a program that runs on this machine (node --import): addresses that the local stack gives out are those that pods reach
// (CLUSTER_HOST); from here the same ports are on the loopback.
const address = new RegExp(`^http://${(process.env['CLUSTER_HOST'] ?? '10.90.0.1').replaceAll('.', '\\.')}:`)
const direct = globalThis.fetch
globalThis.fetch = (input, init) =>
  direct(input instanceof Request ? input : String(input).replace(address, 'http://127.0.0.1:'), init)
