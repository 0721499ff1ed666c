import type { Command } from 'commander';
import type { CliContext } from '../run-cli.js';
import type { LintFlags } from '../netboot-lint.js';
import type { ServeFlags } from '../netboot-serve.js';

const collect = (value: string, previous: string[] = []): string[] => [...previous, value];

export const addNetbootCommand = (program: Command, context: CliContext, done: (code: number) => void): void => {
  const netboot = program.command('netboot').description('boot servers, boot clients, and what went wrong between them').helpCommand(false);

  netboot
    .command('serve')
    .description('serve TFTP, HTTP and boot answers to real machines on one interface')
    .requiredOption('--interface <name>', 'the one interface that is served, such as lo or eth1')
    .option('--tftp <folder>', 'serve a folder by TFTP')
    .option('--http <folder>', 'serve a folder by HTTP')
    .option('--rules <file>', 'boot rules, subnets and reservations, in YAML')
    .option('--file <path>', 'the boot file of every client that no rule of the file matches')
    .option('-a, --append <words>', "words for each kernel of the folders' PXELINUX, GRUB and iPXE configurations, such as console=ttyS0")
    .option('--proxy', 'answer PXE clients beside another DHCP server (ProxyDHCP)')
    .option('--dhcp <from-to>', 'give out these addresses as a DHCP server')
    .option('--leases <file>', 'keep leases in a file, over restarts')
    .option('--tftp-port <port>', 'UDP port of TFTP, 0 for any free one (default: 69)')
    .option('--http-port <port>', 'TCP port of HTTP, 0 for any free one (default: 80)')
    .option('--dhcp-port <port>', 'UDP port of DHCP (default: 67)')
    .option('--dhcp-client-port <port>', 'UDP port of the clients (default: 68)')
    .option('--proxy-port <port>', "UDP port for PXE clients' questions (default: 4011)")
    .option('--single-port', 'answer TFTP from its own port, for clients behind NAT or a firewall')
    .option('--mtu <bytes>', "the path's MTU, which bounds TFTP blocks (default: 1500)")
    .option('--allow-writes <size>', 'take new files by TFTP, up to this size each')
    .option('--signed-urls', 'serve by HTTP only URLs that the rules gave out, for ten minutes each')
    .option('--i-own-this-network', 'answer DHCP on an interface that is not the loopback')
    .option('--beside-other-dhcp', 'give out addresses although another DHCP server does')
    .option('--json', 'print events as JSON, one a line')
    .option('-q, --quiet', 'print no events, only errors')
    .action(async (flags: ServeFlags) => {
      const { serve } = await import('../netboot-serve.js');
      done(await serve(flags, context));
    });

  const boot = netboot
    .command('boot')
    .description('boot a machine from the network: its servers are inside this process, its PXE ROM is built in')
    .option('--tftp <folder>', 'serve a folder to it by TFTP, and by HTTP')
    .option('--file <path>', 'the boot loader in that folder, such as pxelinux.0')
    .option('-k, --kernel <file>', 'a kernel to boot without a loader: a file of this host, or a path in the folder')
    .option('-i, --initrd <file>', 'initial ramdisk for that kernel (repeatable)', collect)
    .option('-a, --append <words>', 'command line of the kernel; with a boot loader, words for each kernel of its configuration, such as console=ttyS0')
    .option('--http <url>', 'an iPXE script or a kernel to load by HTTP; 127.0.0.1 is this host')
    .option('--rules <file>', 'boot rules, in YAML')
    .option('--ipxe <file>', "iPXE's undionly.kpxe (default: where Debian's package ipxe has it)")
    .option('--answer <text=keys>', 'type keys when the console says a text; \\r is Enter, \\t Tab, \\e Escape (repeatable, in order)', collect)
    .option('--expect <text>', 'end with success when the console says this; /pattern/ is a regular expression')
    .option('-m, --memory <size>', 'memory, 1M to 3G (default: 256M)')
    .option('--arch <arch>', 'i386 or x86_64')
    .option('--engine <engine>', 'interp or jit (default: interp)')
    .option('--disk <path[,ro|,snapshot]>', 'attach a raw disk image (repeatable)', collect)
    .option('-n, --net <network>', 'user, or user,restrict (default: restrict, unless --http needs the host)')
    .option('--allow <destination>', 'let the guest reach what is closed (repeatable)', collect)
    .option('--publish <ports>', "open a port of this host that leads to the guest's (repeatable)", collect)
    .option('--nic-model <model>', 'network card (default: virtio)')
    .option('--mac <address>', 'its address (default: a hash of the seed)')
    .option('--rom <file>', "its option ROM, such as one of iPXE's, in place of the built-in PXE ROM")
    .option('--bios <file>', 'firmware in place of the built-in BIOS, such as SeaBIOS; it needs --rom')
    .option('--pcap <file>', 'write a capture of its cable (pcapng)')
    .option('-T, --timeout <time>', 'end the run after this much guest time: 90s, 5m')
    .option('--wall-timeout <time>', 'end the run after this much real time')
    .option('--seed <seed>', 'equal seeds give equal runs (default: 1)')
    .option('--time <kind>', 'warp, realtime or frozen=DATE')
    .option('--reboot', 'let the guest reboot')
    .option('--on-panic <action>', 'exit or ignore (default: exit)')
    .option('--debug-exit <port>', 'a port that ends the run with the code (value << 1) | 1')
    .option('--escape <code>', 'escape key of the console as a number, or none (default: 0x01, Ctrl-A)')
    .option('--console-log <file>', "write the guest's console to a file")
    .option('--result <file>', 'write how the run ended to a file, as JSON')
    .option('--json', 'print one JSON document at the end in place of output')
    .option('-q, --quiet', 'no notes but errors')
    .option('-v, --verbose', 'show each step of the boot on standard error, and what devices are misused');
  boot.action(async () => {
    const { netbootPlan } = await import('../netboot-boot.js');
    const plan = netbootPlan(boot, context);
    const { RunSession } = await import('../run-session.js');
    done(await new RunSession(plan, context, context.internals).execute());
  });

  netboot
    .command('lint')
    .description('explain captured boot exchanges (pcapng, pcap), iPXE scripts and rules, and what is wrong with them')
    .argument('<file...>', 'captures, iPXE scripts, rules in YAML')
    .option('--rules <file>', 'say what these rules would give the clients of the captures')
    .option('--mtu <bytes>', "the path's MTU (default: 1500)")
    .option('--json', 'as JSON')
    .option('-q, --quiet', 'only what is wrong, not what happened')
    .action(async (files: string[], flags: LintFlags) => {
      const { lint } = await import('../netboot-lint.js');
      done(await lint(files, flags, context));
    });
};
