'use strict';
// Announce something to everybody on the network at once, and hear who is there.
//
//   terminal 1   node tests/node/udp-broadcast.js client
//   terminal 2   node tests/node/udp-broadcast.js
//
// The same program in Rust is labs/udp-broadcast: same flags, same story. Start
// another client in a third terminal: both hear each announcement.

const dgram = require('node:dgram');
const { lookup } = require('node:dns/promises');
const { isIPv4, isIPv6 } = require('node:net');
const { networkInterfaces } = require('node:os');
const {
  fail, quote, reason, serverFailed, showAddress, story, warnUnlessLoopback,
  whenAskedToEnd,
} = require('./common.js');
const {
  flag, hostPort, misuse, oneOf, parseFlags, time,
} = require('./flags.js');

// Room for the answers of a full room, which all come at the same time.
const RECEIVE_BUFFER = 4 << 20;

const flags = parseFlags(
  'Announce something to everybody on the network at once.',
  'server --every 5s',
  {
    listen: flag('HOST:PORT', hostPort, "The server's address, else " +
      "127.0.0.1:41234; the client's, else 127.255.255.255:41235"),
    to: flag('HOST:PORT', hostPort, 'Where to announce, else ' +
      '127.255.255.255:41235'),
    every: flag('TIME', pauseBetween, 'How long to wait in between, else 2s'),
    interface: flag('NAME|ADDR', notEmpty, 'Send by this interface alone'),
    'no-broadcast': { type: 'boolean', value: '', parse: Boolean,
      help: 'Leave SO_BROADCAST off' },
  },
  'server|client',
);

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

function pauseBetween(text) {
  const milliseconds = time(text);
  if (milliseconds >= 10 && milliseconds < 2 ** 31) {
    return { milliseconds, text };
  }
  throw new Error('from 10ms to 24 days');
}

function notEmpty(text) {
  if (text) return text;
  throw new Error('a name or an address is wanted');
}

// The first IPv4 address of a name, or `undefined` after an error was told.
async function resolve({ host, text }) {
  let addresses = [];
  try {
    if (!isIPv6(host)) addresses = await lookup(host, { all: true });
  } catch (error) {
    serverFailed(error, { text });
    return undefined;
  }
  const found = addresses.find(({ family }) => family === 4);
  if (!found) {
    console.error(`error: cannot broadcast with ${text}: IPv6 has no ` +
      'broadcast; the group ff02::1 stands for all on a link (lab multicast)');
    process.exitCode = 1;
  }
  return found?.address;
}

// Whether this machine takes the address for one of everybody's. The kernel
// knows its networks: without SO_BROADCAST, it allows no `connect` to such an
// address. Nothing is sent by that.
function isBroadcast(ip, port) {
  if (ip === '255.255.255.255') return Promise.resolve(true);
  return new Promise((tell) => {
    const socket = dgram.createSocket('udp4');
    socket.connect(port, ip, (error) => {
      socket.close();
      tell(error?.code === 'EACCES');
    });
  });
}

// Node can bind a socket to no interface. But whose address the packet bears, by
// that interface it leaves.
function addressOf(name) {
  if (isIPv4(name)) return name;
  const addresses = networkInterfaces()[name] ?? [];
  const found = addresses.find(({ family }) => family === 'IPv4');
  if (!found) {
    const error = { code: 'ENODEV', errno: -19 };
    fail(`cannot send by interface ${name}`, error);
  }
  return found?.address;
}

async function server() {
  const { port, ...asked } = flags.listen ?? hostPort('127.0.0.1:41234');
  const wanted = flags.to ?? hostPort('127.255.255.255:41235');
  const every = flags.every ?? pauseBetween('2s');
  let over = false;
  let timer;
  let socket;
  const end = () => {
    over = true;
    clearInterval(timer);
    socket?.close();
    socket = undefined;
  };
  whenAskedToEnd(end);

  let ip = await resolve(asked);
  const toIp = ip && await resolve(wanted);
  if (toIp && flags.interface) ip = addressOf(flags.interface);
  if (over || !ip || !toIp) return;
  const to = showAddress(toIp, wanted.port);

  socket = dgram.createSocket('udp4');
  socket.on('listening', async () => {
    // In Node, an option can be set once the socket is bound.
    socket.setBroadcast(!flags['no-broadcast']);
    socket.setRecvBufferSize(RECEIVE_BUFFER);
    const { address, port } = socket.address();
    story(`listening on ${showAddress(address, port)}`);
    warnUnlessLoopback({ address, port });
    if (!await isBroadcast(toIp, wanted.port)) {
      console.error(`warning: ${to} is no broadcast address here; at most ` +
        'one host will hear it');
    }
    if (over) return;
    story(`announcing to ${to} every ${every.text}`);
    announce(1);
  });
  socket.on('error', (error) => {
    serverFailed(error, asked);
    end();
  });
  socket.on('message', (message, peer) => {
    const from = showAddress(peer.address, peer.port);
    if (!over) story(`${from} says ${quote(message.toString())}`);
  });
  socket.bind(port, ip);

  // What does not work the first time is an error; what fails later may work
  // again. Without a callback, either would be lost.
  function announce(number) {
    const text = `announcement ${number}`;
    socket.send(text, wanted.port, toIp, (error) => {
      if (over) return;
      if (error && number === 1) {
        fail(`cannot send to ${to}`, error);
        end();
      } else if (error) {
        story(`${text} is not sent: ${reason(error)}`);
      } else {
        story(`sent "${text}" to ${to}`);
      }
    });
    if (number > 1) return;
    timer = setInterval(() => announce(number += 1), every.milliseconds);
  }
}

async function client() {
  const { port, ...asked } = flags.listen ?? hostPort('127.255.255.255:41235');
  let over = false;
  let sockets = [];
  const end = () => {
    over = true;
    for (const socket of sockets) socket.close();
    sockets = [];
  };
  whenAskedToEnd(end);
  const ip = await resolve(asked);
  if (over || !ip) return;

  // The port is shared: an answer from there could be anybody's. So answers
  // leave from another socket. It is made first, to be there in time.
  const listener = dgram.createSocket({ type: 'udp4', reuseAddr: true });
  const socket = dgram.createSocket('udp4');
  sockets = [listener, socket];
  socket.on('error', (error) => {
    fail('cannot open a socket for answers', error);
    end();
  });
  socket.bind(0, ip.startsWith('127.') ? '127.0.0.1' : '0.0.0.0', () => {
    if (!over) listener.bind(port, ip);
  });
  listener.on('listening', async () => {
    const { address, port } = listener.address();
    const own = socket.address();
    story(`listening on ${showAddress(address, port)}`);
    warnUnlessLoopback({ address, port });
    story(`answering from ${showAddress(own.address, own.port)}`);
    if (address !== '0.0.0.0' && !await isBroadcast(address, port)) {
      console.error('warning: no broadcast comes to this address; listen on ' +
        '0.0.0.0');
    }
  });
  listener.on('error', (error) => {
    serverFailed(error, asked);
    end();
  });
  listener.on('message', (message, peer) => {
    if (!over) hear(message.toString(), peer, socket);
  });
}

// Answers an announcement, and nothing else.
function hear(text, { address, port }, socket) {
  const from = showAddress(address, port);
  const number = announced(text);
  if (number === undefined) {
    story(`${from} says ${quote(text)}, and gets no answer`);
    return;
  }
  story(`${from} says ${quote(text)}`);
  const answer = `heard ${number}`;
  socket.send(answer, port, address, (error) => {
    if (error) story(`${from} gets nothing: ${reason(error)}`);
    else story(`${from} gets "${answer}"`);
  });
}

// The number of an announcement, which has 64 bits in the lab, and may end in a
// line end. An answer does not look like one.
function announced(text) {
  const [, digits] = /^announcement (\d{1,20})\s*$/.exec(text) ?? [];
  if (digits === undefined) return undefined;
  const number = BigInt(digits);
  return number < 2n ** 64n ? number : undefined;
}
