import { type Running, serve } from './serve.ts'
import type { Service } from './service.ts'

/** Serves one function by its settings. */
export async function serveService(
  { port, host, shutdownSeconds }: { port: number; host: string; shutdownSeconds: number },
  service: Service,
): Promise<Running> {
  const running = await serve(service.app, {
    port,
    host,
    shutdownSeconds,
    log: service.log,
    onDrain: () => service.drain?.(),
    onClosed: () => service.close(),
  })
  return service.refused === undefined ? running : { ...running, refused: service.refused }
}
