'use strict';
// Send messages without a connection: each arrives whole, or not at all.
//
//   terminal 1   node tests/node/udp-unicast.js
//   terminal 2   node tests/node/udp-unicast.js client  (or: nc -u 127.0.0.1 41234)
//
// The same program in Rust is labs/udp-unicast: same flags, same story. End the
// server with Ctrl-C and ask again; then once more, with `--connected`.

const dgram = require('node:dgram');
const {
  fail, quote, serverFailed, showAddress, story, warnUnlessLoopback,
  whenAskedToEnd,
} = require('./common.js');
const {
  flag, hostPort, misuse, numberUpTo, oneOf, parseFlags, time,
} = require('./flags.js');

// Room for the datagrams that come while we are busy with another.
const RECEIVE_BUFFER = 4 << 20;

const flags = parseFlags(
  'Send messages without a connection: each arrives whole, or not at all.',
  'client --count 3',
  {
    listen: flag('HOST:PORT', hostPort, "The server's address, else " +
      '127.0.0.1:41234'),
    connect: flag('HOST:PORT', hostPort, 'Server to ask, else 127.0.0.1:41234'),
    message: flag('TEXT', String, 'What to send, else hello'),
    offset: flag('BYTES', bytes, 'Leave out so many bytes at the beginning'),
    length: flag('BYTES', bytes, 'Send so many bytes, else all that are left'),
    ttl: flag('HOPS', numberUpTo(255), 'How many routers may pass it on'),
    timeout: flag('TIME', time, 'How long to wait for an answer, else 2s'),
    count: flag('NUMBER', numberUpTo(100_000), 'How many to send, else 1'),
    connected: { type: 'boolean', value: '', parse: Boolean,
      help: "Connect: nobody else's datagrams, and errors" },
  },
  'server|client',
);
const DEFAULT = hostPort('127.0.0.1:41234');

if (readRole() === 'client') client(part());
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

function bytes(text) {
  if (/^\d+$/.test(text)) return Number(text);
  throw new Error('a number of bytes is wanted');
}

// The bytes to send. Offset and length count bytes and not characters.
function part() {
  const message = Buffer.from(flags.message ?? 'hello');
  const { offset = 0 } = flags;
  const left = message.length - offset;
  if (left < 0) {
    misuse(`--offset is outside of the message of ${message.length} bytes`);
  }
  const { length = left } = flags;
  if (length > left) misuse(`--length is more than the ${left} bytes left`);
  return { message, offset, length };
}

// `udp6` for an address with a colon, as `localhost` may be as well.
async function open({ host, text }) {
  try {
    const { lookup } = require('node:dns/promises');
    const { address, family } = await lookup(host);
    const type = family === 6 ? 'udp6' : 'udp4';
    return { ip: address, socket: dgram.createSocket(type) };
  } catch (error) {
    serverFailed(error, { text });
    return {};
  }
}

async function server() {
  const { port, ...asked } = flags.listen ?? DEFAULT;
  let over = false;
  let socket;
  whenAskedToEnd(() => {
    over = true;
    socket?.close();
  });
  const opened = await open(asked);
  if (over || !opened.socket) return;
  socket = opened.socket;
  socket.on('listening', () => {
    const { address, port } = socket.address();
    socket.setRecvBufferSize(RECEIVE_BUFFER);
    story(`listening on ${showAddress(address, port)}`);
    warnUnlessLoopback({ address, port });
  });
  socket.on('error', (error) => {
    if (error.syscall === 'bind') {
      serverFailed(error, asked);
      socket.close();
    } else {
      // News of an earlier reply: nobody is there any more.
      story('somebody who was answered has gone');
    }
  });
  socket.on('message', (message, peer) => {
    if (!over) answer(socket, message, peer);
  });
  socket.bind(port, opened.ip);
}

// One datagram, from its arrival to the reply.
function answer(socket, message, peer) {
  const from = showAddress(peer.address, peer.port);
  story(`${from} sent ${quote(message.toString())}, ${message.length} bytes`);
  if (isOurselves(peer, socket.address())) {
    story(`${from} is this server: no reply`);
    return;
  }
  const reply = receipt(message.length);
  if (reply === undefined) {
    story(`${from} gets no reply`);
    return;
  }
  // Without a callback, an error would be lost.
  socket.send(reply, peer.port, peer.address, (error) => {
    if (error) story(`${from} gets nothing: ${error.code}`);
    else story(`${from} gets ${quote(reply)}`);
  });
}

// The number of bytes in digits: always shorter than what it answers. So two
// servers that answer each other come to an end.
function receipt(nBytes) {
  if (nBytes === 0) return undefined;
  return nBytes === 1 ? '' : String(nBytes);
}

function isOurselves(peer, local) {
  const isOurIp = ['0.0.0.0', '::', peer.address].includes(local.address);
  return peer.port === local.port && isOurIp;
}

async function client({ message, offset, length }) {
  const { port, ...asked } = flags.connect ?? DEFAULT;
  const { count = 1, timeout = 2000, connected, ttl } = flags;
  let over = false;
  let socket;
  let timer;
  let nSent = 0;
  let nLost = 0;
  const end = () => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    socket?.close();
  };
  whenAskedToEnd(end);
  const { ip, socket: opened } = await open(asked);
  if (over || !opened) return;
  socket = opened;
  const server = showAddress(ip, port);

  socket.on('listening', () => {
    if (ttl) socket.setTTL(ttl);
    if (connected) socket.connect(port, ip);
    else start();
  });
  socket.on('connect', start);
  socket.on('message', (message, { address, port: from }) => {
    if (over) return;
    const text = quote(message.toString());
    if (address !== ip || from !== port) {
      story(`${showAddress(address, from)} was not asked, and says ${text}`);
      return;
    }
    story(`${server} answered ${text}`);
    next();
  });
  // Only a connected socket is told.
  socket.on('error', (error) => failed(`no answer from ${server}`, error));
  const isV6 = ip.includes(':');
  const isLoopback = ip === '::1' || ip.startsWith('127.');
  const any = isV6 ? '::' : '0.0.0.0';
  socket.bind(0, !isLoopback ? any : isV6 ? '::1' : '127.0.0.1');

  function start() {
    const { address, port: own } = socket.address();
    story(`sending from ${showAddress(address, own)} to ${server}`);
    next();
  }

  function next() {
    clearTimeout(timer);
    if (nSent === count) {
      end();
      if (nLost > 0) {
        const what = `no answer from ${server} to ${nLost} of ${count} datagrams`;
        fail(what, { code: 'ETIMEDOUT', errno: -110 });
      }
      return;
    }
    nSent += 1;
    const to = connected ? [] : [port, ip];
    socket.send(message, offset, length, ...to, (error, nBytes) => {
      if (over) return;
      if (error) failed(`cannot send ${length} bytes to ${server}`, error);
      const text = quote(message.toString('utf8', offset, offset + length));
      if (!error) story(`sent ${text}, ${nBytes} bytes`);
    });
    timer = setTimeout(() => {
      nLost += 1;
      story(`no answer within ${showTime(timeout)}`);
      next();
    }, timeout);
  }

  function failed(what, error) {
    if (over) return;
    end();
    fail(what, error);
  }
}

function showTime(milliseconds) {
  if (milliseconds % 60_000 === 0) return `${milliseconds / 60_000}m`;
  if (milliseconds % 1000 === 0) return `${milliseconds / 1000}s`;
  return `${milliseconds}ms`;
}
