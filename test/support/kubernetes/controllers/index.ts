import { type Api } from '../api.ts'
import { DeploymentController } from './deployment.ts'
import { GarbageCollector } from './garbage.ts'
import { ControllerManager } from './manager.ts'
import { NamespaceController } from './namespace.ts'
import { ReplicaSetController } from './replicaset.ts'

export function startControllers(api: Api): ControllerManager {
  const manager = new ControllerManager(api)
  manager.add(new NamespaceController(api, manager))
  manager.add(new DeploymentController(api, manager))
  manager.add(new ReplicaSetController(api, manager))
  manager.add(new GarbageCollector(api, manager))
  return manager
}
