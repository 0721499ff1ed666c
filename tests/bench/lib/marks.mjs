// Runs a command and times the "@" markers that it prints, by this process's monotonic clock or by the command's CPU time.
import { spawn } from 'node:child_process';
import { cpuSeconds, processMemory } from './common.mjs';

const MARKER = /@(BOOTED|B|E|DONE)\b ?(\S*) ?(\S*)/;
const TAIL_BYTES = 3000;

/**
 * `command` is [file, ...arguments]; `untilExit` ends at the command's exit in place of the marker @DONE, `lastMark` { kind, name } at another marker; `env` is added to its environment; `clock` is `wall`, or the
 * processor time (Linux, 10 ms steps) of the `process` with its threads or of its `mainThread`. Gives
 * { boot, rows: { name: seconds }, sums: { name: text }, total, peakMb, error }: `error` is set when the end was not reached.
 */
export const timeMarks = (command, { timeoutS, untilExit = false, lastMark = { kind: 'DONE' }, clock = 'wall', env = {} }) =>
  new Promise(done => {
    const start = performance.now();
    const [file, ...args] = command;
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    const began = new Map();
    const result = { rows: {}, sums: {} };
    let tail = '';
    let ended = false;
    const wallSeconds = () => (performance.now() - start) / 1000;
    const seconds = () => (clock === 'wall' ? undefined : cpuSeconds(child.pid, clock === 'mainThread')) ?? wallSeconds();
    const end = error => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      child.kill('SIGKILL');
      if (error !== undefined) Object.assign(result, { error, tail });
      done(result);
    };
    const timer = setTimeout(() => end(`no end after ${timeoutS} s`), timeoutS * 1000);
    const lineReader = () => {
      let pending = '';
      return chunk => {
        const now = seconds();
        const text = chunk.toString('latin1');
        tail = (tail + text).slice(-TAIL_BYTES);
        const lines = (pending + text).split('\n');
        pending = lines.pop();
        for (const line of lines) {
          const found = MARKER.exec(line);
          if (found === null) continue;
          const [, kind, name, sum] = found;
          if (kind === 'BOOTED') result.boot = now;
          if (kind === 'B') began.set(name, now);
          else if (kind === 'E' && began.has(name)) {
            result.rows[name] = now - began.get(name);
            result.sums[name] = sum;
          }
          if (kind === lastMark.kind && (lastMark.name === undefined || lastMark.name === name)) {
            result.total = now;
            result.peakMb = processMemory(child.pid)?.peakMb;
            end();
          }
        }
      };
    };
    child.stdout.on('data', lineReader());
    child.stderr.on('data', lineReader());
    child.on('error', error => end(error.message));
    child.on('close', (code, signal) => {
      if (ended) return;
      result.total = wallSeconds();
      end(untilExit && code === 0 ? undefined : `ended with ${signal ?? `exit code ${code}`} before its last marker`);
    });
  });
