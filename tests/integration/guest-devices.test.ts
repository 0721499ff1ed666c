import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BufferedChar } from '../../src/host/backends/char.js';
import { LoopbackPort } from '../../src/host/backends/frame.js';
import { Machine } from '../../src/host/machine.js';
import { complaints, hasTool, hostTool, readBytes, scratchFolder, sections, startGuest } from './guest-support.js';

const folder = scratchFolder();
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const TEXT = Array.from({ length: 4000 }, (_, i) => `line ${i} ${(i * 2654435761) >>> 7}\n`).join('');

describe.each(['amd64', 'i386'])('disks of %s', image => {
  it('ext4 made on the host is read and written by the guest, and stays sound; ro and snapshot leave files alone', { timeout: 180_000 }, async () => {
    for (const tool of ['mke2fs', 'e2fsck', 'debugfs']) expect(hasTool(tool), `${tool} is needed: on Debian, e2fsprogs`).toBe(true);
    const tree = join(folder, `tree-${image}`);
    mkdirSync(tree, { recursive: true });
    writeFileSync(join(tree, 'text'), TEXT);
    const [disk, kept, fixed, odd] = ['disk', 'kept', 'fixed', 'odd'].map(name => join(folder, `${name}-${image}`));
    hostTool('mke2fs', ['-q', '-t', 'ext4', '-d', tree, disk, '24M']);
    hostTool('mke2fs', ['-q', '-t', 'ext2', '-d', tree, kept, '8M']);
    writeFileSync(fixed, readBytes(kept));
    writeFileSync(odd, Buffer.alloc(1_000_448, 'odd '));
    const before = [kept, fixed, odd].map(path => sha256(readBytes(path)));
    const { vm, guestLog } = await startGuest({ image, disks: [disk, `${kept},snapshot`, `${fixed},ro`, `${odd},ro`] });
    {
      await using _ = vm;
      const { stdout } = await vm.run(`
        modprobe ext4; mkdir -p /mnt/a /mnt/b /mnt/c
        mount -t ext4 /dev/vda /mnt/a; mount -t ext4 /dev/vdb /mnt/b; mount -t ext4 -o ro /dev/vdc /mnt/c
        echo '## sums'; for d in a b c; do md5sum < /mnt/$d/text; done
        echo '## sizes'; cat /sys/block/vd?/size /sys/block/vd?/ro | tr '\\n' ' '; cat /sys/block/vda/serial; echo
        dd if=/dev/urandom of=/mnt/a/big bs=64k count=100 2>/dev/null; md5sum < /mnt/a/big > /mnt/a/sum
        i=0; while [ $i -lt 200 ]; do echo $i > /mnt/a/file-$i; i=$((i+1)); done; rm /mnt/a/file-1*
        echo changed > /mnt/b/text
        echo '## write'; dd if=/dev/zero of=/dev/vdc bs=512 count=1 2>&1 | head -1; echo x > /mnt/c/x; echo $?
        sync; echo 3 > /proc/sys/vm/drop_caches
        echo '## again'; md5sum < /mnt/a/big; cat /mnt/a/sum /mnt/b/text; tail -c 5 /dev/vdd; md5sum < /dev/vdd
        umount /mnt/a /mnt/b /mnt/c; echo '## dmesg'; dmesg`, { check: false });
      const seen = sections(stdout);
      const sum = createHash('md5').update(TEXT).digest('hex');
      expect(seen.sums.trim().split('\n')).toEqual([`${sum}  -`, `${sum}  -`, `${sum}  -`]);
      expect(seen.sizes.trim()).toBe('49152 16384 16384 1954 0 0 1 1 vmlet-disk0');
      expect(seen.write.trim().split('\n').at(-1)).toBe('1');
      const [first, second, changed] = seen.again.split('\n');
      expect(first).toBe(second);
      expect(changed).toBe('changed');
      expect(seen.again).toContain(createHash('md5').update(readBytes(odd)).digest('hex'));
      expect(seen.dmesg).toMatch(/virtio_blk virtio\d: \[vda\] 49152 512-byte logical blocks/);
      expect(complaints(seen.dmesg)).toEqual([]);
      expect(guestLog).toEqual([]);
      expect((await vm.shutdown()).reason).toBe('poweroff');
    }
    expect([kept, fixed, odd].map(path => sha256(readBytes(path)))).toEqual(before);
    hostTool('e2fsck', ['-f', '-n', disk]);
    const listed = hostTool('debugfs', ['-R', 'ls -p /', disk]);
    expect(listed).toContain('/file-99/');
    expect(listed).not.toContain('/file-100/');
    const big = execFileSync('sh', ['-c', 'PATH="$PATH:/usr/sbin"; debugfs -R "cat /big" "$0" 2>/dev/null', disk], { maxBuffer: 2 ** 24 });
    expect(hostTool('debugfs', ['-R', 'cat /sum', disk]).slice(0, 32)).toBe(createHash('md5').update(big).digest('hex'));
    expect(big.length).toBe(6_553_600);
  });
});

describe('ports and lines', () => {
  it.each(['amd64', 'i386'])('%s: four serial lines, a hypervisor console, entropy and a network card', { timeout: 240_000 }, async image => {
    const lines = [new BufferedChar(), new BufferedChar(), new BufferedChar()];
    const hvc = new BufferedChar();
    const { vm, guestLog } = await startGuest(
      { image },
      {
        createMachine: options =>
          new Machine({
            ...options,
            serial: [...options.serial!, ...lines],
            console: [{ backend: hvc }, ...options.console!.map(port => ({ ...port, console: false }))],
            nics: [{ mac: Uint8Array.of(2, 0, 0, 0, 0, 9), port: new LoopbackPort() }],
          }),
      },
    );
    await using _ = vm;
    // What comes before a port is opened is lost, as on real lines.
    await vm.run('for n in 1 2 3; do stty -F /dev/ttyS$n raw -echo 115200; (head -n 1 < /dev/ttyS$n > /tmp/in$n 2>/dev/null &); done; sleep 1');
    for (const [i, line] of lines.entries()) line.send(`hello ${i + 1}\n`);
    const { stdout } = await vm.run(`
      i=0; while [ $i -lt 300 ]; do echo "line $i of ttyS1"; i=$((i+1)); done > /dev/ttyS1
      echo two > /dev/ttyS2; echo three > /dev/ttyS3; echo four > /dev/hvc0
      sleep 3
      echo '## input'; cat /tmp/in?
      echo '## tty'; dmesg | grep -o 'ttyS. at I/O.*'
      echo '## random'; cat /sys/class/misc/hw_random/rng_current; dd if=/dev/hwrng bs=4096 count=8 2>/dev/null | gzip -c | wc -c
      echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; modprobe virtio_net; ip link set eth0 up; ip addr add 10.1.2.3/24 dev eth0; ping -c 3 -W 1 10.1.2.4 > /dev/null
      echo '## net'; cat /sys/class/net/eth0/address; cd /sys/class/net/eth0/statistics; cat tx_packets rx_packets tx_bytes rx_bytes rx_errors
      echo '## irq'; grep -E 'ttyS|ERR|MIS|SPU' /proc/interrupts; echo '## dmesg'; dmesg`, { check: false });
    const seen = sections(stdout);
    expect(seen.tty.trim().split('\n').map(line => line.slice(0, 33))).toEqual(['ttyS0 at I/O 0x3f8 (irq = 4, base', 'ttyS1 at I/O 0x2f8 (irq = 3, base', 'ttyS2 at I/O 0x3e8 (irq = 4, base', 'ttyS3 at I/O 0x2e8 (irq = 3, base']);
    expect(lines[0].text).toBe(Array.from({ length: 300 }, (_, i) => `line ${i} of ttyS1\n`).join(''));
    expect([lines[1].text, lines[2].text, hvc.text]).toEqual(['two\n', 'three\n', 'four\r\n']);
    expect(seen.input).toBe('hello 1\nhello 2\nhello 3\n');
    const reader = vm.spawn('head -n 1 /dev/hvc0');
    await vm.run('sleep 1');
    hvc.send('hello hvc\n');
    expect(await reader.stdout.text()).toBe('hello hvc\n');
    expect(seen.random).toMatch(/^virtio_rng\.\d\n/);
    expect(Number(seen.random.trim().split('\n')[1])).toBeGreaterThan(32_000);
    const [mac, sent, received, sentBytes, receivedBytes, errors] = seen.net.trim().split('\n');
    expect(mac).toBe('02:00:00:00:00:09');
    expect(Number(sent)).toBeGreaterThan(2);
    expect([received, receivedBytes, errors]).toEqual([sent, sentBytes, '0']);
    expect(complaints(seen.dmesg)).toEqual([]);
    expect(guestLog).toEqual([]);
  });
});
