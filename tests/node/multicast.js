'use strict';
// Send the time to a group: whoever has joined it hears, and nobody else.
//
//   terminal 1   node tests/node/multicast.js
//   terminal 2   node tests/node/multicast.js client --leave-after 5s
//
// The same program in Rust is labs/multicast: same flags, same story. Start a
// second client: it takes the same port, and both hear.

const dgram = require('node:dgram');
const net = require('node:net');
const os = require('node:os');
const { fail, quote, showAddress, story, whenAskedToEnd } =
  require('./common.js');
const { flag, hostPort, misuse, oneOf, parseFlags, time } =
  require('./flags.js');

const flags = parseFlags(
  'Send the time to a group: whoever has joined it hears, and nobody else.',
  'client',
  {
    group: flag('HOST:PORT', toGroup, 'Group and port, else 239.255.0.100:8080'),
    interface: flag('ADDR|NAME', String, 'Over IPv4 one of its addresses, ' +
      'else 127.0.0.1; over IPv6 its name or number'),
    every: flag('TIME', interval, 'How often to send, else 1s'),
    ttl: flag('HOPS', hops, 'How many networks it may reach, else 1'),
    loopback: flag('WHETHER', oneOf('on', 'off'),
      'Whether members on this host are to hear it, else on; through ' +
      '127.0.0.1 they always do'),
    'leave-after': flag('TIME', time, 'Leave the group after so long'),
  },
  'server|client',
);

const { ip, port, isV6, owner } = flags.group ?? toGroup('239.255.0.100:8080');
const group = showAddress(ip, port);
const asked = flags.interface ?? '127.0.0.1';
checkInterface();

if (readRole() === 'client') client();
else server();

function readRole() {
  const [text = 'server', more] = flags.operands;
  try {
    oneOf('server', 'client')(text);
  } catch ({ message }) {
    misuse(`invalid role '${text}': ${message}`);
  }
  if (more) misuse(`unexpected argument '${more}'`);
  return text;
}

function toGroup(text) {
  const form = 'write it as HOST:PORT, such as 239.255.0.100:8080 or ' +
    '[ff15::100]:8080, and the interface as --interface';
  const { host: ip, port } = hostPort(text);
  if (!net.isIP(ip) || ip.includes('%')) throw new Error(form);
  const isV6 = net.isIPv6(ip);
  return { ip, port, isV6, owner: isV6 ? ownerV6(ip) : ownerV4(ip) };
}

// Whose group it is: `undefined` when anybody may take it.
function ownerV4(ip) {
  const [a, b, c] = ip.split('.').map(Number);
  if (a < 224 || a > 239) {
    throw new Error(`${ip} is no group; groups are 224.0.0.0 to ` +
      '239.255.255.255');
  }
  if (a === 224 && b === 0 && c === 0) {
    throw new Error(`${ip} is for the routing protocols of the link; take ` +
      'one that begins with 239');
  }
  if (a === 232) {
    throw new Error(`${ip} can be joined only together with a sender (SSM); ` +
      'take one that begins with 239');
  }
  if (a === 239) return undefined;
  if (a === 224 && b === 0 && c === 1) {
    return 'a protocol that has it from IANA';
  }
  if (a === 233 && b <= 251) return 'whoever has the AS number in its middle';
  return 'somebody else on the internet';
}

// After `ff` come flags and scope, a digit each.
function ownerV6(ip) {
  const [, flags, scope, next] = /^ff(.)(.):([^:]*)/i.exec(ip) ?? [];
  if (!flags) throw new Error(`${ip} is no group; groups begin with ff`);
  const take = 'take one that begins with ff15';
  if (/[0f]/i.test(scope)) {
    throw new Error(`${ip} has a scope that is reserved; ${take}`);
  }
  if (flags === '3' && /^0*$/.test(next)) {
    throw new Error(`${ip} can be joined only together with a sender (SSM); ` +
      take);
  }
  if (flags === '1') return undefined;
  const isTemporary = Number.parseInt(flags, 16) & 1;
  return isTemporary ? 'whoever has the network in its middle'
    : 'a protocol that has it from IANA';
}

function interval(text) {
  const every = time(text);
  if (every < 10) throw new Error('it is 10ms at least');
  return every;
}

function hops(text) {
  if (/^\d+$/.test(text) && text <= 255) return Number(text);
  throw new Error('a number from 0 to 255 is wanted');
}

// What Node wants for the interface: over IPv4 an address, over IPv6 any
// address with a zone. A zone that is none would count as "any interface".
function checkInterface() {
  if (!isV6 && !net.isIPv4(asked)) {
    misuse(`--interface ${asked}: over IPv4 it is one of its addresses, such ` +
      'as 127.0.0.1');
  }
  if (isV6 && !flags.interface) {
    misuse('an IPv6 group needs --interface, such as --interface eth0');
  }
  if (isV6 && net.isIP(asked)) {
    misuse(`--interface ${asked}: over IPv6 it is its name or number, such ` +
      'as eth0');
  }
}

function toInterface() {
  if (!isV6) return asked;
  if (asked === '0') return '::';
  const all = Object.entries(os.networkInterfaces());
  const found = all.find(([name, addresses]) => name === asked ||
    addresses.some(({ scopeid }) => scopeid > 0 && String(scopeid) === asked));
  return found && `::%${found[0]}`;
}

// For an error: which one, or what to do where the system was to choose.
function orHint() {
  const isAny = ['0.0.0.0', '0'].includes(asked);
  return isAny ? 'any interface; name one with --interface' : asked;
}

function warn() {
  if (owner) console.error(`warning: this group belongs to ${owner} (${group})`);
  if (isV6 || !asked.startsWith('127.')) {
    console.error('warning: everybody in this network can hear, and send ' +
      `(${asked})`);
  }
}

// Makes the socket, and what both roles need to end in order.
function open({ reuseAddr, stop }) {
  const through = toInterface();
  if (!through) {
    console.error(`error: there is no interface ${asked}; \`ip link\` lists ` +
      'them');
    process.exitCode = 1;
    return undefined;
  }
  const type = isV6 ? 'udp6' : 'udp4';
  const socket = dgram.createSocket({ type, reuseAddr });
  const self = { socket, through, over: false, end, failed, attempt };
  function end() {
    if (self.over) return;
    self.over = true;
    stop();
    socket.close();
  }
  function failed(what, error) {
    if (self.over) return;
    end();
    fail(what, error);
  }
  // The calls for groups throw.
  function attempt(what, act) {
    try {
      act();
      return true;
    } catch (error) {
      failed(what, error);
      return false;
    }
  }
  whenAskedToEnd(end);
  return self;
}

function server() {
  const { every = 1000, ttl = 1, loopback = 'on' } = flags;
  let timer;
  const self =
    open({ reuseAddr: false, stop: () => clearInterval(timer) });
  if (!self) return;
  const { socket, through } = self;
  const cannot = `cannot send through ${asked}`;
  socket.on('error', (error) => self.failed(cannot, error));
  socket.bind(0, isV6 ? '::' : asked, () => {
    // Before it is bound, all of these throw EBADF.
    const isSet = self.attempt(cannot, () => {
      socket.setMulticastInterface(through);
      socket.setMulticastTTL(ttl);
      socket.setMulticastLoopback(loopback === 'on');
      // Linux drops what must not leave the host only where the host is a
      // member.
      if (ttl === 0) socket.addMembership(ip, through);
    });
    if (!isSet) return;
    const { address, port: own } = socket.address();
    story(`sending from ${showAddress(address, own)} to ${group}`);
    warn();
    send();
    timer = setInterval(send, every);
  });

  function send() {
    const now = localTime(new Date());
    // Without a callback, an error would be lost.
    socket.send(now, port, ip, (error) => {
      if (self.over) return;
      const what = `cannot send to ${group} through ${orHint()}`;
      if (error) self.failed(what, error);
      else story(`sent "${now}"`);
    });
  }
}

// `toLocaleString` depends on the language of the sender, and has no zone.
function localTime(date) {
  const minutes = -date.getTimezoneOffset();
  const local = new Date(date.getTime() + minutes * 60_000).toISOString();
  const two = (number) => String(Math.trunc(number)).padStart(2, '0');
  const sign = minutes < 0 ? '-' : '+';
  const [hour, minute] = [Math.abs(minutes) / 60, Math.abs(minutes) % 60];
  return `${local.slice(0, 10)} ${local.slice(11, 19)} ` +
    `${sign}${two(hour)}:${two(minute)}`;
}

function client() {
  let timer;
  const self = open({ reuseAddr: true, stop: () => clearTimeout(timer) });
  if (!self) return;
  const { socket, through } = self;
  socket.on('error', (error) => self.failed(`cannot listen on ${group}`, error));
  socket.on('message', (message, { address, port: from }) => {
    if (self.over) return;
    const text = quote(message.toString());
    story(`${showAddress(address, from)} says ${text}`);
  });
  // Bound to the group, it gets nothing else; Windows has no such thing.
  const zone = /^ff.2/i.test(ip) ? through.slice(2) : '';
  const any = isV6 ? '::' : '0.0.0.0';
  const local = process.platform === 'win32' ? any : `${ip}${zone}`;
  socket.bind(port, local, () => {
    const join = () => socket.addMembership(ip, through);
    if (!self.attempt(`cannot join ${ip} on ${orHint()}`, join)) return;
    story(`joined ${ip} on ${asked}, at port ${port}`);
    warn();
    const after = flags['leave-after'];
    if (after !== undefined) timer = setTimeout(leave, after);
  });

  // The socket is bound as before.
  function leave() {
    const drop = () => socket.dropMembership(ip, through);
    if (self.attempt(`cannot leave ${ip} on ${asked}`, drop)) {
      story(`left ${ip} on ${asked}`);
    }
  }
}
