import type { DoorConfig } from '../../shared/config/read-config.ts'
import { createApp } from '../../shared/http/create-app.ts'
import type { Service } from '../../shared/http/service.ts'
import { openJobPorts } from './job-ports.ts'
import { addJobRoutes } from './job-routes.ts'

/**
 * The door: the only address that a tool job may reach. The job routes of step without what plans, claims or makes jobs, under a
 * database role (agent_door) that knows three functions and each of them only with the token of one job.
 */
export async function createDoor(config: DoorConfig): Promise<Service> {
  const { log, refused, close, store, ...ports } = await openJobPorts(config)
  const app = createApp({
    service: 'door',
    version: config.version,
    log,
    allowedOrigins: [],
    publicBaseUrl: config.publicBaseUrl,
    ready: () => store.ready(),
  })
  const settings = { jobDeadlineSeconds: config.jobDeadlineSeconds, secret: config.agentSecret }
  addJobRoutes(app, { ...ports, store, settings }, { maxBlobBytes: config.maxBlobBytes })
  return { app, log, refused, close }
}
