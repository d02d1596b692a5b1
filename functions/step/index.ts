import { readConfig } from '../../shared/config/readConfig.ts'
import { runMain } from '../../shared/http/runMain.ts'
import { serveService } from '../../shared/http/serveService.ts'
import { createStep } from './app.ts'

await runMain(async () => {
  const config = readConfig('step')
  return serveService(config, await createStep(config))
})
