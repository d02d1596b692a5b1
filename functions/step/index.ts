import { readConfig } from '../../shared/config/read-config.ts'
import { runMain } from '../../shared/http/run-main.ts'
import { serveService } from '../../shared/http/serve-service.ts'
import { createStep } from './app.ts'

await runMain(async () => {
  const config = readConfig('step')
  return serveService(config, await createStep(config))
})
