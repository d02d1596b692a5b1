import { readConfig } from '../../shared/config/readConfig.ts'
import { runMain } from '../../shared/http/runMain.ts'
import { serveService } from '../../shared/http/serveService.ts'
import { createStatus } from './app.ts'

await runMain(async () => {
  const config = readConfig('status')
  return serveService(config, await createStatus(config))
})
