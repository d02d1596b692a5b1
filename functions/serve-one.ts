import { readConfig } from '../shared/config/read-config.ts'
import type { ServiceName } from '../shared/config/settings.ts'
import type { Running } from '../shared/http/serve.ts'
import { serveService } from '../shared/http/serve-service.ts'

/** Serves one function, or the door; only its own code is loaded. */
export async function serveOne(target: ServiceName): Promise<Running> {
  switch (target) {
    case 'execute': {
      const config = readConfig(target)
      return serveService(config, await (await import('./execute/app.ts')).createExecute(config))
    }
    case 'status': {
      const config = readConfig(target)
      return serveService(config, await (await import('./status/app.ts')).createStatus(config))
    }
    case 'logs': {
      const config = readConfig(target)
      return serveService(config, await (await import('./logs/app.ts')).createLogs(config))
    }
    case 'step': {
      const config = readConfig(target)
      return serveService(config, await (await import('./step/app.ts')).createStep(config))
    }
    case 'door': {
      const config = readConfig(target)
      return serveService(config, await (await import('./step/door.ts')).createDoor(config))
    }
  }
}
