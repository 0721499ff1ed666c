import { describe, expect, it } from 'vitest';
import { VmletError } from '../../src/errors.js';
import { VM } from '../../src/index.js';
import { cli } from '../support/cli.js';
import { complaints, sections, startGuest } from './guest-support.js';

const LOOK = `
cd /sys/devices/system/clocksource/clocksource0
echo '## cpuinfo'; cat /proc/cpuinfo
echo '## interrupts'; cat /proc/interrupts
echo '## iomem'; cat /proc/iomem
echo '## ioports'; cat /proc/ioports
echo '## clocks'; cat available_clocksource current_clocksource ../../clockevents/clockevent0/current_device
echo '## pci'; for d in /sys/bus/pci/devices/*; do echo "\${d##*/} $(cat $d/vendor $d/device $d/class | tr '\\n' ' ') $(basename $(readlink $d/driver || echo none))"; done
echo '## mtrr'; cat /proc/mtrr
echo '## vulnerabilities'; grep . /sys/devices/system/cpu/vulnerabilities/*
echo '## acpi'; ls /sys/firmware/acpi/tables /sys/firmware/dmi/tables; cat /sys/class/dmi/id/product_name
echo '## input'; cat /proc/bus/input/devices
echo '## modules'; cut -d' ' -f1 /proc/modules
echo '## timers'; grep -E 'resolution|hres_active|nohz_mode|nr_hangs|max_hang' /proc/timer_list | sort | uniq -c
echo '## tainted'; cat /proc/sys/kernel/tainted
echo '## times'; date -u +%s; hwclock -u; cut -d' ' -f1 /proc/uptime
`;

const IMAGES = [
  { image: 'amd64', memory: '256M', machine: 'x86_64', release: /-cloud-amd64$/, flags: ['lm', 'nx', 'pdpe1gb', 'x2apic', 'tsc_deadline_timer'] },
  { image: 'amd64-generic', memory: '96M', machine: 'x86_64', release: /\d-amd64$/, flags: ['lm', 'nx', 'fsgsbase', 'pcid'] },
  { image: 'i386', memory: '64M', machine: 'i686', release: /-686$/, flags: ['pae', 'sep', 'sse4_2'] },
  { image: 'i386-pae', memory: '64M', machine: 'i686', release: /-686-pae$/, flags: ['pae', 'nx', 'sse4_2'] },
];

describe.each(IMAGES)('$image with $memory', ({ image, memory, machine, release, flags }) => {
  it('boots, and reads as a real PC to a kernel engineer', { timeout: 240_000 }, async () => {
    const { vm, guestLog } = await startGuest({ image, memory });
    await using _ = vm;
    const uname = (await vm.run(['uname', '-mr'])).stdout.trim().split(' ');
    expect(uname[0]).toMatch(release);
    expect(uname[1]).toBe(machine);
    const dmesg = (await vm.run('dmesg')).stdout;
    expect(complaints(dmesg)).toEqual([]);
    expect(dmesg).toContain('Hypervisor detected: KVM');
    expect(dmesg).toContain('x86/PAT: Configuration [0-7]: WB  WC  UC- UC  WB  WP  UC- WT');
    expect(dmesg).toMatch(/ttyS0 at I\/O 0x3f8 \(irq = 4, base_baud = 115200\) is a 16550A/);
    expect(dmesg).toMatch(/rtc_cmos .*: setting system clock to 2026-01-01T00:00:00 UTC/);
    const seen = sections((await vm.run(LOOK)).stdout);

    expect(seen.cpuinfo).toMatch(/^vendor_id\t: GenuineIntel\n/m);
    expect(seen.cpuinfo).toMatch(/^cpu MHz\t\t: 1000\.000$/m);
    expect(seen.cpuinfo).toMatch(/^bogomips\t: 2000\.00$/m);
    expect(seen.cpuinfo).toMatch(/^bugs\t\t: spectre_v1 spectre_v2 swapgs bhi$/m);
    expect(seen.cpuinfo).toMatch(/^cache size\t: 32768 KB$/m);
    const named = new Set(/^flags\t\t: (.*)$/m.exec(seen.cpuinfo)![1].split(' '));
    for (const flag of ['fpu', 'vme', 'pse', 'tsc', 'msr', 'cx8', 'apic', 'mtrr', 'pge', 'cmov', 'pat', 'clflush', 'mmx', 'fxsr', 'sse', 'sse2', 'pni', 'ssse3', 'sse4_1', 'popcnt', 'movbe', 'aes', 'pclmulqdq', 'sha_ni', 'rdrand', 'rdseed', 'hypervisor', 'constant_tsc', 'nonstop_tsc', ...flags]) {
      expect(named, flag).toContain(flag);
    }
    for (const flag of ['avx', 'xsave', 'smep', 'smap', 'la57', 'vmx', 'monitor', 'ht']) expect(named, flag).not.toContain(flag);

    expect(seen.interrupts).toMatch(/ 1: +\d+ +IO-APIC +1-edge +i8042/);
    expect(seen.interrupts).toMatch(/ 4: +\d+ +IO-APIC +4-edge +ttyS0/);
    expect(seen.interrupts).toMatch(/ 8: +0 +IO-APIC +8-edge +rtc0/);
    expect(seen.interrupts).toMatch(/ 9: +0 +IO-APIC +9-fasteoi +acpi/);
    expect(seen.interrupts).toMatch(/PCI-MSI \d+-edge +virtio0-config/);
    for (const name of ['NMI', 'SPU', 'RTR', 'ERR', 'MIS']) if (seen.interrupts.includes(`${name}:`)) expect(seen.interrupts).toMatch(new RegExp(`${name}: +0`));
    const ticks = Number(/LOC: +(\d+)/.exec(seen.interrupts)![1]);
    const uptime = Number(seen.times.trim().split('\n').at(-1));
    expect(ticks).toBeGreaterThan(20);
    expect(ticks).toBeLessThan(uptime * 250 + 100);

    expect(seen.iomem).toContain('Kernel code');
    expect(seen.iomem).toMatch(/fec00000-fec003ff : IOAPIC 0\n/);
    expect(seen.iomem).toMatch(/fee00000-fee00fff : Local APIC\n/);
    expect(seen.iomem).toMatch(/e0000000-febfffff : PCI Bus 0000:00\n/);
    for (const line of ['0020-0021 : pic1', '0040-0043 : timer0', '0070-0071 : rtc0', '03f8-03ff : serial', '0cf8-0cff : PCI conf1', '0608-060b : ACPI PM_TMR']) expect(seen.ioports).toContain(line);
    expect(seen.clocks.split(/\s+/).filter(Boolean)).toEqual(['tsc', 'kvm-clock', 'acpi_pm', 'tsc', 'lapic-deadline']);
    expect(seen.pci.trim().split('\n').map(line => line.replace(/ +/g, ' '))).toEqual([
      '0000:00:00.0 0x8086 0x1237 0x060000 none',
      '0000:00:01.0 0x8086 0x7000 0x060100 none',
      '0000:00:02.0 0x1af4 0x1043 0x078000 virtio-pci',
      '0000:00:03.0 0x1af4 0x1044 0x00ff00 virtio-pci',
    ]);
    expect(seen.mtrr).toMatch(/^reg00: base=0x0c0000000 \( 3072MB\), size= 1024MB, count=1: uncachable$/m);
    // Linux for i386 has no answer to branch history injection, and asks no processor whether it needs one.
    expect(seen.vulnerabilities.replace('BHI: Vulnerable', '')).not.toMatch(/: vulnerable|unknown/i);
    for (const table of ['APIC', 'DSDT', 'FACP', 'DMI', 'smbios_entry_point', 'vmlet PC']) expect(seen.acpi).toContain(table);
    expect(seen.input).toContain('AT Translated Set 2 keyboard');
    for (const module of ['virtio_pci', 'virtio_blk', 'virtio_console', 'virtio_rng']) expect(seen.modules).toContain(module);
    expect(seen.timers).toMatch(/\.resolution: +1 nsecs/);
    expect(seen.timers).toMatch(/hres_active +: 1/);
    expect(seen.tainted.trim()).toBe('0');
    expect(Math.abs(Number(seen.times.split('\n')[0]) - 1_767_225_600 - uptime)).toBeLessThan(2);
    expect(seen.times).toMatch(/Thu Jan {2}1 00:00:0\d 2026/);
    expect(guestLog).toEqual([]);
  });
});

describe('ten idle minutes and busy seconds', () => {
  it.each(['amd64', 'i386'])('%s: no tick is lost, the clocks agree, and the kernel has nothing to say', { timeout: 240_000 }, async image => {
    const { vm, guestLog } = await startGuest({ image });
    await using _ = vm;
    const lines = (await vm.run('dmesg | wc -l')).stdout.trim();
    const script = `
      sleep 600
      i=0; while [ $i -lt 30000 ]; do i=$((i+1)); [ $((i % 300)) = 0 ] && /bin/true | cat; done
      echo '## new'; dmesg | tail -n +$((${lines}+1))
      echo '## clocks'; cat /sys/devices/system/clocksource/clocksource0/current_clocksource
      echo '## times'; date -u +%s; hwclock -u | cut -c12-19; cut -d' ' -f1 /proc/uptime
      echo '## ticks'; grep -E 'LOC|ERR|MIS|SPU' /proc/interrupts
      echo '## stat'; head -1 /proc/stat`;
    const seen = sections((await vm.run(script)).stdout);
    expect(seen.new).toBe('');
    expect(seen.clocks).toBe('tsc\n');
    const [date, hardware, uptime] = seen.times.trim().split('\n');
    const up = Number(uptime);
    expect(up).toBeGreaterThan(600);
    expect(Math.abs(up - vm.now / 1e9)).toBeLessThan(0.5);
    expect(Math.abs(Number(date) - 1_767_225_600 - up)).toBeLessThan(1.1);
    const [hours, minutes, seconds] = hardware.split(':').map(Number);
    expect(Math.abs(hours * 3600 + minutes * 60 + seconds - up)).toBeLessThan(1.6);
    const jiffies = seen.stat.trim().split(/\s+/).slice(1).map(Number).reduce((sum, n) => sum + n, 0);
    expect(Math.abs(jiffies / 100 - up)).toBeLessThan(1);
    for (const count of seen.ticks.matchAll(/(ERR|MIS|SPU): +(\d+)/g)) expect(count[2], count[1]).toBe('0');
    expect(guestLog).toEqual([]);
  });
});

describe('memory', () => {
  it.each([
    ['i386', '40M', 24_000, 41_000],
    ['amd64', '80M', 44_000, 82_000],
    ['i386', '512M', 480_000, 524_288],
    ['amd64', '2G', 1_950_000, 2_097_152],
    ['i386-pae', '3G', 3_000_000, 3_145_728],
    ['amd64', '3G', 2_980_000, 3_145_728],
  ])('%s runs with %s', { timeout: 240_000 }, async (image, memory, least, most) => {
    const { vm } = await startGuest({ image, memory });
    await using _ = vm;
    const kilobytes = Number(/MemTotal: +(\d+) kB/.exec((await vm.run(['cat', '/proc/meminfo'])).stdout)![1]);
    expect(kilobytes).toBeGreaterThan(least);
    expect(kilobytes).toBeLessThan(most);
    // Touches the memory at its end as well as at its start.
    const megabytes = Math.floor((kilobytes / 1024) * 0.2);
    const sum = await vm.run(`mount -t tmpfs -o size=${kilobytes}k none /mnt && yes vmlet | head -c ${Math.min(megabytes, 64) * 2 ** 20} > /mnt/big && tail -c 1000000 /mnt/big | md5sum | cut -c1-8; dmesg`);
    expect(sum.stdout.slice(0, 200)).toMatch(/^[0-9a-f]{8}$/m);
    expect(complaints(sum.stdout)).toEqual([]);
  });

  it('says early that kernel and initrd do not fit', async () => {
    for (const [image, memory] of [['i386', '24M'], ['amd64', '48M']]) {
      const error = await VM.start({ image, memory }).then(() => undefined, (thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(VmletError);
      expect((error as VmletError).code).toBe('ERR_VMLET_MEMORY');
      expect((error as VmletError).message).toMatch(/needs \d+ MB of memory, and the machine has/);
    }
  });

  it('says what to do when the kernel runs out of memory as it starts', { timeout: 180_000 }, async () => {
    const { vm } = await startGuest({ image: 'amd64', memory: '64M' });
    await using _ = vm;
    const exit = await vm.wait();
    expect(exit.reason).toBe('panic');
    expect(exit.text).toMatch(/deadlocked on memory.*more memory/);
  });
});

describe('other ways to boot the same kernel', () => {
  it.each([
    ['amd64', 'noapic nolapic acpi=off pci=nomsi', /0: +\d+ +XT-PIC +timer/],
    ['amd64', 'lapic=notscdeadline nox2apic no-kvmclock nohz=off', /4: +\d+ +IO-APIC +4-edge +ttyS0/],
    ['amd64', 'notsc no-kvmclock clocksource=acpi_pm pci=nomsi', /10: +\d+ +IO-APIC +10-fasteoi +virtio0/],
    ['i386', 'acpi=off', /0: +\d+ +XT-PIC +timer/],
    ['i386', 'nolapic_timer lapic=notscdeadline highres=off', /0: +\d+ +IO-APIC +2-edge +timer/],
  ])('%s with "%s" keeps time', { timeout: 240_000 }, async (image, append, interrupts) => {
    const { vm } = await startGuest({ image, append });
    await using _ = vm;
    const { stdout } = await vm.run('sleep 20; cut -d" " -f1 /proc/uptime; cat /proc/interrupts; dmesg | grep -E "Call Trace|unstable|Spurious|nobody cared"; true');
    expect(Math.abs(Number(stdout.split('\n')[0]) - vm.now / 1e9)).toBeLessThan(0.6);
    expect(stdout).toMatch(interrupts);
    expect(stdout.split('\n').filter(line => /Call Trace|\] .*Spurious|nobody cared/.test(line))).toEqual([]);
  });
});

describe('the command line program', () => {
  it.each(['x86_64', 'i386'])('runs a command on --arch %s', { timeout: 180_000 }, async arch => {
    const result = await cli(['run', '--arch', arch, '--', 'sh', '-c', 'echo out; echo err >&2; exit 7']);
    expect(result).toMatchObject({ code: 7, stdout: 'out\n', stderr: 'err\n' });
  });
});
