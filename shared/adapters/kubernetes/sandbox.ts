import { lazy } from '../../core/lazy.ts'
import type { Sandbox } from '../../ports/sandbox.ts'
import { callCluster, isStatus } from './call-cluster.ts'
import { describeJob, isWorking } from './describe-job.ts'
import { jobManifest } from './job-manifest.ts'
import type { KubernetesSandboxOptions } from './options.ts'

/** Tool jobs as Jobs of a Kubernetes cluster. Needs, in its namespace: create, get, delete of jobs, list of pods. */
export function createKubernetesSandbox(options: KubernetesSandboxOptions): Sandbox {
  const { namespace } = options
  // The client is 20 times the rest of the step function: loaded when a job is made, not at the start.
  const client = lazy(async () => (await import('./connect.ts')).connect(options))

  return {
    async create(job) {
      return await callCluster(client, async ({ jobs }) => {
        try {
          await jobs.createNamespacedJob({ namespace, body: jobManifest(job, options, Date.now()) })
          return 'created'
        } catch (error) {
          if (isStatus(error, 409)) return 'exists'
          throw error
        }
      })
    },

    async inspect(name) {
      return await callCluster(client, async ({ jobs, pods }) => {
        try {
          const job = await jobs.readNamespacedJob({ namespace, name })
          if (isWorking(job)) return { state: 'running' }
          const labelSelector = `batch.kubernetes.io/job-name=${name}`
          const { items } = await pods.listNamespacedPod({ namespace, labelSelector, limit: 10 })
          return describeJob(job, items, Date.now())
        } catch (error) {
          if (isStatus(error, 404)) return { state: 'missing' }
          throw error
        }
      })
    },

    async remove(name) {
      await callCluster(client, async ({ jobs }) => {
        try {
          await jobs.deleteNamespacedJob({ namespace, name, propagationPolicy: 'Background' })
        } catch (error) {
          if (!isStatus(error, 404)) throw error
        }
      })
    },
  }
}
