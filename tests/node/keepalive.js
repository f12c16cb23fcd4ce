'use strict';
// Ask the kernel to find out whether a silent client is still there.
//
//   terminal 1   node tests/node/keepalive.js
//   terminal 2   telnet 127.0.0.1 8080
//   terminal 3   ss -tno 'sport = :8080'
//
// The same program in Rust is labs/keepalive: same flags, same story. Look at
// the timer in terminal 3 again and again. Then, in `talk`, give `setKeepAlive`
// 999 in place of the delay, as milliseconds, and look once more.

const net = require('node:net');
const {
  reason, serverFailed, showAddress, story, warnUnlessLoopback, whenAskedToEnd,
} = require('./common.js');
const { flag, hostPort, parseFlags, time } = require('./flags.js');

// What Node sets on each socket together with the delay, and there is no call
// that sets anything else.
const INTERVAL = 1000;
const PROBES = 10;

// The kernel counts in seconds. Node divides by 1000 and drops the rest, so 999
// is 0 to it, which the kernel refuses, and nobody is told.
function seconds(text) {
  const milliseconds = time(text);
  if (milliseconds < 1000) {
    throw new Error('the kernel counts in seconds: 1s is the least');
  }
  if (milliseconds < 32_768_000) return milliseconds;
  throw new Error('32767s is the most');
}

function interval(text) {
  if (seconds(text) === INTERVAL) return INTERVAL;
  throw new Error('in Node it is always 1s');
}

function probes(text) {
  if (text === String(PROBES)) return PROBES;
  throw new Error(`in Node it is always ${PROBES}`);
}

const flags = parseFlags(
  'Ask the kernel to find out whether a silent client is still there.',
  '--initial-delay 10s',
  {
    listen: flag(
      'HOST:PORT', hostPort,
      'Address to listen on; port 0 takes any free port', '127.0.0.1:8080',
    ),
    'initial-delay': flag(
      'TIME', seconds,
      'How long nothing must come from a client until it is probed', '5s',
    ),
    interval: flag(
      'TIME', interval,
      'How long to wait for the answer to a probe; Node has', '1s',
    ),
    probes: flag(
      'N', probes,
      'How many probes without an answer end it; Node has', '10',
    ),
    'user-timeout': flag(
      'TIME',
      () => {
        throw new Error('in Node there is no such thing');
      },
      'Not in Node',
    ),
    off: { type: 'boolean', parse: Boolean, help: 'Do not probe at all' },
  },
);

const server = net.createServer();
const sockets = new Set();

server.on('listening', () => {
  const { address, port } = server.address();
  story(`listening on ${showAddress(address, port)}`);
  warnUnlessLoopback({ address, port });
});
server.on('connection', talk);
server.on('error', (error) => serverFailed(error, flags.listen));

whenAskedToEnd(() => {
  server.close();
  for (const socket of sockets) socket.destroy();
});

const { host, port } = flags.listen;
server.listen({ host, port });

// One client. Nothing here knows of the probes: the kernels exchange them.
function talk(socket) {
  sockets.add(socket);
  const peer = showAddress(socket.remoteAddress, socket.remotePort);
  if (!flags.off) socket.setKeepAlive(true, flags['initial-delay']);
  story(`${peer} connected: ${describe()}`);
  socket.write('welcome\r\n');

  socket.on('data', (chunk) => {
    if (!socket.write(chunk)) {
      socket.pause();
      socket.once('drain', () => socket.resume());
    }
  });

  // ETIMEDOUT is the kernel's verdict: nobody answered.
  let failure;
  socket.on('error', (error) => {
    failure = error;
  });

  socket.on('close', () => {
    sockets.delete(socket);
    const why = failure ? ` with an error: ${reason(failure)}` : '';
    story(`${peer} closed${why}`);
  });
}

// What the kernel should have. Node cannot ask it.
function describe() {
  if (flags.off) return 'no keepalive';
  const delay = Math.trunc(flags['initial-delay'] / 1000);
  const every = Math.trunc(flags.interval / 1000);
  return `keepalive after ${delay}s, every ${every}s, ${flags.probes} probes`;
}
