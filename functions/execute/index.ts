import { readConfig } from '../../shared/config/read-config.ts'
import { runMain } from '../../shared/http/run-main.ts'
import { serveService } from '../../shared/http/serve-service.ts'
import { createExecute } from './app.ts'

await runMain(async () => {
  const config = readConfig('execute')
  return serveService(config, await createExecute(config))
})
