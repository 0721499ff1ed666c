import type { Command } from 'commander';
import type { CliContext } from '../run-cli.js';
import type { LintFlags } from '../netboot-lint.js';
import type { ServeFlags } from '../netboot-serve.js';

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
