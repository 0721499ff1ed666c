import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Agent, type CommandEvents, type RunRequest } from '../../src/vm-agent.js';

export const agentPath = (name: 'amd64' | 'i386'): string => fileURLToPath(new URL(`../../images/agent/agent-${name}`, import.meta.url));

/** Whether this host can run the agents: the reason for which a test may be skipped. */
export const hostRunsAgents = process.platform === 'linux' && process.arch === 'x64';

/** Runs a built agent on the host, where it speaks its protocol on standard input and output. */
export const startNativeAgent = (name: 'amd64' | 'i386' = 'amd64', path = agentPath(name)): { agent: Agent; child: ChildProcess; ended: Promise<number | null> } => {
  const agent = new Agent();
  const child = spawn(path, [], { stdio: ['pipe', 'pipe', 'inherit'] });
  const { backend } = agent.port;
  backend.attach({
    receive: data => {
      child.stdin!.write(data.slice());
      return data.length;
    },
  });
  child.stdin!.on('error', () => {});
  child.stdout!.on('data', (data: Buffer) => backend.write(new Uint8Array(data)));
  return { agent, child, ended: new Promise(resolve => child.on('close', code => resolve(code))) };
};

export interface Outcome {
  stdout: Buffer;
  stderr: Buffer;
  status?: { code: number } | { signal: number };
  error?: { stage: string; errno: number };
  pid?: number;
}

/** Runs a command to its end. */
export const runIn = (agent: Agent, request: Partial<RunRequest> & { argv: string[] }, act: (command: ReturnType<Agent['run']>) => void = c => c.end(), on: Partial<CommandEvents> = {}): Promise<Outcome> =>
  new Promise(resolve => {
    const pieces = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
    let pid: number | undefined;
    const done = (rest: Partial<Outcome>) => resolve({ stdout: Buffer.concat(pieces.stdout), stderr: Buffer.concat(pieces.stderr), pid, ...rest });
    const command = agent.run(
      { env: { PATH: '/usr/bin:/bin' }, cwd: '', user: '', stdin: true, ...request },
      {
        onStarted: value => {
          pid = value;
          on.onStarted?.(value);
        },
        onError: (stage, errno) => done({ error: { stage, errno } }),
        onOutput: (stream, data) => {
          pieces[stream].push(data);
          on.onOutput?.(stream, data);
        },
        onExit: status => done({ status }),
      },
    );
    act(command);
  });
