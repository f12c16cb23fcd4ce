'use strict';
// Tell what is an IP address, and of which kind.
//
//   terminal 1   node tests/node/is-ip.js 127.0.0.1 ::1 fe80::1%eth0 127.1
//   terminal 2   node tests/node/is-ip.js
//
// The same program in Rust is labs/is-ip: same arguments, same answers. The
// number is that of `net.isIP`, and the kind comes out of a `net.BlockList` for
// each block: Node has no word for what an address is for.

const net = require('node:net');
const { escape, fail, whenAskedToEnd } = require('./common.js');
const { parseFlags } = require('./flags.js');

// The longest text that is looked at, in bytes, and how many characters of it
// an answer shows.
const LONGEST = 4096;
const SHOWN = 1000;

const { operands: texts } = parseFlags(
  'Tell what is an IP address, and of which kind.',
  '127.0.0.1 fe80::1%eth0',
  {},
  'TEXT',
);

// First address, length of the prefix, kind, RFC. The first row that fits
// counts, so a block stands above the one around it.
const V4 = [
  ['0.0.0.0', 32, 'unspecified', 1122],
  ['0.0.0.0', 8, 'this network', 791],
  ['10.0.0.0', 8, 'private', 1918],
  ['100.64.0.0', 10, 'shared address space', 6598],
  ['127.0.0.0', 8, 'loopback', 1122],
  ['169.254.0.0', 16, 'link-local', 3927],
  ['172.16.0.0', 12, 'private', 1918],
  ['192.0.0.0', 24, 'protocol assignments', 6890],
  ['192.0.2.0', 24, 'documentation', 5737],
  ['192.31.196.0', 24, 'AS112 name servers', 7535],
  ['192.52.193.0', 24, 'multicast tunnels (AMT)', 7450],
  ['192.88.99.0', 24, '6to4 relays, deprecated', 7526],
  ['192.168.0.0', 16, 'private', 1918],
  ['192.175.48.0', 24, 'AS112 name servers', 7534],
  ['198.18.0.0', 15, 'benchmarking', 2544],
  ['198.51.100.0', 24, 'documentation', 5737],
  ['203.0.113.0', 24, 'documentation', 5737],
  ['224.0.0.0', 24, 'multicast, local network control block', 5771],
  ['224.0.1.0', 24, 'multicast, internetwork control block', 5771],
  ['224.0.0.0', 16, 'multicast, ad-hoc block', 5771],
  ['224.2.0.0', 16, 'multicast, session announcements', 5771],
  ['224.3.0.0', 16, 'multicast, ad-hoc block', 5771],
  ['224.4.0.0', 16, 'multicast, ad-hoc block', 5771],
  ['232.0.0.0', 8, 'multicast, source-specific', 4607],
  ['233.252.0.0', 24, 'multicast, documentation', 6676],
  ['233.252.0.0', 14, 'multicast, ad-hoc block', 5771],
  ['233.0.0.0', 8, 'multicast, by AS number (GLOP)', 3180],
  ['234.0.0.0', 8, 'multicast, by unicast prefix', 6034],
  ['239.0.0.0', 8, 'multicast, administratively scoped', 2365],
  ['224.0.0.0', 4, 'multicast, reserved', 5771],
  ['255.255.255.255', 32, 'limited broadcast', 919],
  ['240.0.0.0', 4, 'reserved', 1112],
  ['0.0.0.0', 0, 'global', 6890],
];

const V6 = [
  ['::', 128, 'unspecified', 4291],
  ['::1', 128, 'loopback', 4291],
  ['::ffff:0:0', 96, 'IPv4-mapped', 4291],
  ['::', 96, 'IPv4-compatible, deprecated', 4291],
  ['64:ff9b::', 96, 'IPv4 behind NAT64', 6052],
  ['64:ff9b:1::', 48, "NAT64 of one's own", 8215],
  ['100::', 64, 'discard-only', 6666],
  ['100:0:0:1::', 64, 'dummy', 9780],
  ['2001::', 32, 'Teredo', 4380],
  ['2001:2::', 48, 'benchmarking', 5180],
  ['2001:3::', 32, 'multicast tunnels (AMT)', 7450],
  ['2001:4:112::', 48, 'AS112 name servers', 7535],
  ['2001:10::', 28, 'ORCHID, deprecated', 4843],
  ['2001:20::', 28, 'ORCHIDv2', 7343],
  ['2001:30::', 28, 'drone remote ID', 9374],
  ['2001::', 23, 'protocol assignments', 2928],
  ['2001:db8::', 32, 'documentation', 3849],
  ['2002::', 16, '6to4', 3056],
  ['2620:4f:8000::', 48, 'AS112 name servers', 7534],
  ['3fff::', 20, 'documentation', 9637],
  ['2000::', 3, 'global', 4291],
  ['5f00::', 16, 'segment routing', 9602],
  ['fc00::', 7, 'unique local', 4193],
  ['fe80::', 10, 'link-local', 4291],
  ['fec0::', 10, 'site-local, deprecated', 3879],
  ['::', 0, 'unassigned', 4291],
];

// How far an IPv6 multicast packet goes: the fourth hex digit of the group.
const SCOPES = {
  0: 'reserved scope',
  1: 'interface-local',
  2: 'link-local',
  3: 'realm-local',
  4: 'admin-local',
  5: 'site-local',
  8: 'organization-local',
  e: 'global',
  f: 'reserved scope',
};

const blocks = {
  4: V4.map((row) => block(row, 'ipv4')),
  6: V6.map((row) => block(row, 'ipv6')),
};

function block([first, prefix, kind, rfc], family) {
  const list = new net.BlockList();
  // A prefix of 0 is a misuse for a BlockList, so two halves make the whole.
  if (prefix > 0) {
    list.addSubnet(first, prefix, family);
  } else {
    list.addSubnet(first, 1, family);
    list.addSubnet(family === 'ipv4' ? '128.0.0.0' : '8000::', 1, family);
  }
  return {
    has: (address) => list.check(address, family),
    kind: `${kind} (RFC ${rfc})`,
  };
}

function kindOf(number, text) {
  if (number === 0) return 'not an address';
  // A BlockList takes no zone.
  const [address] = text.split('%');
  const multicast = /^ff[0-9a-f]([0-9a-f]):/i.exec(address);
  if (multicast) {
    const scope = SCOPES[multicast[1].toLowerCase()] ?? 'unassigned scope';
    return `multicast, ${scope} (RFC 7346)`;
  }
  const { kind } = blocks[number].find(({ has }) => has(address));
  if (!kind.startsWith('IPv4-mapped')) return kind;
  // The URL parser writes every IPv6 address in hex, in the shortest way.
  const { hostname } = new URL(`http://[${address}]`);
  const [high, low] = hostname.slice('[::ffff:'.length, -1).split(':')
    .map((group) => parseInt(group, 16));
  const inner = [high >> 8, high & 255, low >> 8, low & 255].join('.');
  return `${kind}: ${kindOf(4, inner)}`;
}

// The answer to a text, of which we have the bytes as a latin1 string.
function answer(bytes) {
  const isTooLong = bytes.length > LONGEST;
  // What is not ASCII is no address.
  const number = isTooLong ? 0 : net.isIP(bytes);
  if (number === 0 && !asked) process.exitCode = 1;
  const kind = isTooLong ? `longer than ${LONGEST} bytes`
    : kindOf(number, bytes);
  return `${number}\t${visible(bytes)}\t${kind}\n`;
}

// A character in well-formed UTF-8 (Unicode, table 3-7), or one other byte.
const CHARACTER = new RegExp([
  '[\\x00-\\x7f]', '[\\xc2-\\xdf][\\x80-\\xbf]',
  '\\xe0[\\xa0-\\xbf][\\x80-\\xbf]', '\\xed[\\x80-\\x9f][\\x80-\\xbf]',
  '[\\xe1-\\xec\\xee\\xef][\\x80-\\xbf]{2}',
  '\\xf0[\\x90-\\xbf][\\x80-\\xbf]{2}', '\\xf4[\\x80-\\x8f][\\x80-\\xbf]{2}',
  '[\\xf1-\\xf3][\\x80-\\xbf]{3}', '([\\x80-\\xff])',
].join('|'), 'g');

function visible(bytes) {
  const text = bytes.replace(CHARACTER, (character, other) => {
    if (other) return `\\x${other.charCodeAt(0).toString(16)}`;
    if (character === '\\') return '\\\\';
    return escape(Buffer.from(character, 'latin1').toString(), ' ');
  });
  const characters = [...text];
  if (characters.length <= SHOWN) return text;
  return `${characters.slice(0, SHOWN).join('')} …`;
}

async function answerStdin() {
  let line = '';
  // Two bytes more than is looked at: one shows that the line is too long, the
  // other may be the CR before the line end.
  const add = (part) => {
    line += part.slice(0, LONGEST + 2 - line.length);
  };
  process.stdin.setEncoding('latin1');
  for await (const chunk of process.stdin) {
    const parts = chunk.split('\n');
    const beginning = parts.pop();
    let answers = '';
    for (const part of parts) {
      add(part);
      answers += answer(line.replace(/\r$/, ''));
      line = '';
    }
    add(beginning);
    // Not to wait for the drain is to keep all answers in memory.
    if (answers && !process.stdout.write(answers)) {
      await new Promise((resolve) => process.stdout.once('drain', resolve));
    }
  }
  if (line) process.stdout.write(answer(line));
}

let asked = false;
whenAskedToEnd(() => {
  asked = true;
  // Who stops it asks no more questions.
  process.exitCode = 0;
  process.stdin.destroy();
});

if (texts.length > 0) {
  const latin1 = (text) => Buffer.from(text).toString('latin1');
  process.stdout.write(texts.map((text) => answer(latin1(text))).join(''));
} else {
  answerStdin().catch((error) => {
    // A stdin that we destroy is an error to whoever waits for it.
    if (!asked) fail('cannot read stdin', error);
  });
}
