import { describe, expect, it } from 'vitest';
import { formatIpv4 } from '../../src/net/address.js';
import { EgressPolicy } from '../../src/net/egress.js';
import { parsePublish } from '../../src/net/publish.js';
import { ip } from './support.js';

const open = (allow: string[], address: string, port = 80, own: string[] = []): boolean => new EgressPolicy({ allow }, () => own).refusal(ip(address), port) === undefined;

describe('what guests may reach', () => {
  it('is the public network by default', () => {
    for (const address of ['8.8.8.8', '1.1.1.1', '223.255.255.254', '172.32.0.1', '11.0.0.1']) expect(open([], address)).toBe(true);
    for (const address of ['127.1.2.3', '10.0.0.1', '172.31.255.255', '192.168.0.1', '100.127.0.1', '169.254.0.1', '224.0.0.1', '255.255.255.255', '0.0.0.0', '198.19.0.1']) {
      expect(open([], address)).toBe(false);
    }
  });

  it('grows by addresses, ports and names', () => {
    expect(open(['10.1.0.0/16'], '10.1.2.3')).toBe(true);
    expect(open(['10.1.0.0/16'], '10.2.2.3')).toBe(false);
    expect(open(['127.0.0.1:8080'], '127.0.0.1', 8080)).toBe(true);
    expect(open(['127.0.0.1:8080'], '127.0.0.1', 8081)).toBe(false);
    expect(open(['10.0.0.5:1-1024'], '10.0.0.5', 1024)).toBe(true);
    expect(open(['10.0.0.5:1-1024'], '10.0.0.5', 1025)).toBe(false);
    expect(open(['private'], '192.168.3.4')).toBe(true);
    expect(open(['private'], '127.0.0.1')).toBe(false);
    expect(open(['loopback'], '127.0.0.1')).toBe(true);
  });

  it('never includes cloud metadata in a larger permission', () => {
    for (const allow of ['0.0.0.0/0', 'link-local', 'private', '169.254.0.0/16']) {
      for (const address of ['169.254.169.254', '100.100.100.200', '168.63.129.16']) expect(open([allow], address)).toBe(false);
    }
    expect(open(['169.254.169.254'], '169.254.169.254')).toBe(true);
    expect(open(['169.254.169.254:80'], '169.254.169.254', 81)).toBe(false);
    expect(open(['metadata'], '169.254.169.254')).toBe(true);
    expect(open([], '168.63.129.16')).toBe(false);
  });

  it('keeps the host itself closed under its public addresses', () => {
    expect(open([], '203.0.114.5', 22, ['203.0.114.5'])).toBe(false);
    expect(open(['host'], '203.0.114.5', 22, ['203.0.114.5'])).toBe(true);
    expect(open(['203.0.114.5:80'], '203.0.114.5', 80, ['203.0.114.5'])).toBe(true);
  });

  it('is nothing with restrict', () => {
    expect(new EgressPolicy({ restrict: true, allow: ['0.0.0.0/0'] }).refusal(ip('8.8.8.8'), 53)).toContain('restrict');
  });

  it.each(['nonsense', '1.2.3', '1.2.3.4/33', '1.2.3.4:70000', '1.2.3.4:9-3', ''])('refuses the permission %j', text => {
    expect(() => new EgressPolicy({ allow: [text] })).toThrow('not a destination');
  });
});

describe('ports to publish', () => {
  it('are read in all their forms', () => {
    expect(parsePublish('8080:80')).toEqual({ protocol: 'tcp', hostAddress: ip('127.0.0.1'), hostPort: 8080, guestPort: 80 });
    expect(parsePublish('127.0.0.1:8080:80')).toEqual(parsePublish('8080:80/tcp'));
    const full = parsePublish('0.0.0.0:53:10.0.2.15:5353/udp');
    expect(full).toMatchObject({ protocol: 'udp', hostAddress: 0, hostPort: 53, guestPort: 5353 });
    expect(formatIpv4(full.guestAddress as number)).toBe('10.0.2.15');
  });

  it.each(['80', '1.2.3.4:80', '70000:80', '80:0', '80:80/sctp', '1.2.3.256:80:80', '80:1.2.3:80'])('refuse %s', text => {
    expect(() => parsePublish(text)).toThrow('is not a port to publish');
  });
});
