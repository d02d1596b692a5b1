import { readConfig } from '../../shared/config/readConfig.ts'
import { runMain } from '../../shared/http/runMain.ts'
import { serveService } from '../../shared/http/serveService.ts'
import { createExecute } from './app.ts'

await runMain(async () => {
  const config = readConfig('execute')
  return serveService(config, await createExecute(config))
})
