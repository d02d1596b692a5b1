import { readConfig } from '../../shared/config/read-config.ts'
import { runMain } from '../../shared/http/run-main.ts'
import { serveService } from '../../shared/http/serve-service.ts'
import { createStatus } from './app.ts'

await runMain(async () => {
  const config = readConfig('status')
  return serveService(config, await createStatus(config))
})
