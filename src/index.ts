export { VM, type EngineStats, type RunOptions, type SpawnOptions } from './vm.js';
export type { DiskOptions, Duration, Size, VMConfig, VMOptions } from './config.js';
export { CommandExitError, GuestInput, GuestProcess, GuestStream, type ExitStatus, type RunResult } from './vm-process.js';
export { SerialConsole, type ExpectOptions, type Match } from './vm-serial.js';
export { Lab, type LabDefinition, type LabNic, type LabSwitch, type LabVM } from './lab.js';
export type { NetOptions, NetworkOptions, NicModel, NicOptions } from './config-net.js';
export type { ExitReason, Stage, VMExit } from './vm-verdict.js';
export { VmletError, type VmletErrorCode } from './errors.js';
