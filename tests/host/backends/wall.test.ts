import { describe, expect, it } from 'vitest';
import { NodeWall } from '../../../src/host/backends/wall.js';

describe('NodeWall', () => {
  const wall = new NodeWall();

  it('sleeps no less than asked, and as short as cancelled', async () => {
    const start = wall.now();
    await wall.sleep(3).done;
    expect(wall.now() - start).toBeGreaterThanOrEqual(3);
    for (const ms of [1e9, Infinity]) {
      const sleep = wall.sleep(ms);
      sleep.cancel();
      await sleep.done;
    }
    await wall.sleep(0).done;
    await wall.sleep(-5).done;
    expect(wall.now() - start).toBeLessThan(60_000);
  });

  it('lets timers and immediates run in a turn', async () => {
    let ran = false;
    setImmediate(() => (ran = true));
    await wall.turn();
    expect(ran).toBe(true);
  });

  it('knows the date', () => {
    expect(Math.abs(wall.epochSeconds() - Date.now() / 1000)).toBeLessThan(2);
  });
});
