import { type Api } from '../api.ts'
import { AutoscalerController } from './autoscaler.ts'
import { CustomResources } from './custom.ts'
import { DaemonSetController } from './daemonset.ts'
import { DeploymentController } from './deployment.ts'
import { DisruptionController } from './disruption.ts'
import { GarbageCollector } from './garbage.ts'
import { JobController } from './job.ts'
import { ControllerManager } from './manager.ts'
import { NamespaceController } from './namespace.ts'
import { QuotaController } from './quota.ts'
import { ReplicaSetController } from './replicaset.ts'
import { RolloutController } from './rollout.ts'
import { StatefulSetController } from './statefulset.ts'

export function startControllers(api: Api, retryMs: number): ControllerManager {
  const manager = new ControllerManager(api)
  manager.add(new CustomResources(api))
  manager.add(new NamespaceController(api, manager))
  manager.add(new DeploymentController(api, manager))
  manager.add(new ReplicaSetController(api, manager))
  manager.add(new StatefulSetController(api, manager))
  manager.add(new DaemonSetController(api, manager))
  manager.add(new JobController(api, manager, retryMs))
  manager.add(new QuotaController(api))
  manager.add(new DisruptionController(api))
  manager.add(new AutoscalerController(api))
  manager.add(new RolloutController(api, manager))
  manager.add(new GarbageCollector(api, manager))
  return manager
}
