/** What is read of the Engine API's answers; everything else in a specification is carried along as it is. */
export interface Spec {
  Name: string
  Labels?: Record<string, string>
  TaskTemplate: TaskTemplate
  Mode: {
    Replicated?: { Replicas?: number }
    Global?: object
    ReplicatedJob?: object
    GlobalJob?: object
    [other: string]: unknown
  }
  UpdateConfig?: Pace
  RollbackConfig?: Pace
  Networks?: { Target: string; [other: string]: unknown }[]
  [other: string]: unknown
}

/** How tasks are replaced. Durations are in nanoseconds. */
export interface Pace {
  /** 0: all at once. */
  Parallelism?: number
  Delay?: number
  FailureAction?: string
  Monitor?: number
  MaxFailureRatio?: number
  Order?: string
  [other: string]: unknown
}

interface TaskTemplate {
  ContainerSpec: ContainerSpec
  RestartPolicy?: { Condition?: string; [other: string]: unknown }
  Placement?: { Constraints?: string[] | null; [other: string]: unknown }
  Networks?: { Target: string; [other: string]: unknown }[]
  ForceUpdate?: number
  [other: string]: unknown
}

export interface ContainerSpec {
  Image: string
  Env?: string[]
  Secrets?: Reference<'Secret'>[]
  Configs?: Reference<'Config'>[]
  [other: string]: unknown
}

type Reference<K extends string> = { [key in `${K}ID` | `${K}Name`]: string } & {
  File?: { Name: string; [o: string]: unknown }
}

export interface Service {
  ID: string
  Version: { Index: number }
  CreatedAt: string
  UpdatedAt: string
  Spec: Spec
  PreviousSpec?: Spec
  UpdateStatus?: { State?: string; StartedAt?: string; CompletedAt?: string; Message?: string }
}

export interface Task {
  ID: string
  ServiceID: string
  NodeID?: string
  Slot?: number
  CreatedAt: string
  UpdatedAt: string
  DesiredState: string
  Spec: TaskTemplate
  Status: {
    State: string
    Timestamp?: string
    Err?: string
    Message?: string
    ContainerStatus?: { ContainerID?: string; ExitCode?: number }
  }
}

export interface Node {
  ID: string
  Description: { Hostname: string }
  Status: { State: string; Message?: string }
  Spec: { Availability: string }
  ManagerStatus?: { Reachability: string; Leader?: boolean }
}

export interface Info {
  SystemTime: string
  Swarm: {
    NodeID: string
    LocalNodeState: string
    ControlAvailable: boolean
    Error?: string
    Managers?: number
    Nodes?: number
    Cluster?: { ID: string } | null
  }
}

export interface Config {
  ID: string
  Spec: { Name: string; Data: string; [other: string]: unknown }
}

export interface Secret {
  ID: string
  Spec: { Name: string }
}

export interface Network {
  Id: string
  Name: string
}

export interface LocalImage {
  Id: string
  RepoDigests?: string[] | null
}
