import { readConfig } from '../../shared/config/readConfig.ts'
import { runMain } from '../../shared/http/runMain.ts'
import { serveService } from '../../shared/http/serveService.ts'
import { createLogs } from './app.ts'

await runMain(async () => {
  const config = readConfig('logs')
  return serveService(config, await createLogs(config))
})
