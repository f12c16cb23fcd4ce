'use strict';
// Connect, send what is typed, print what arrives: a small `nc`.
//
//   terminal 1   node tests/node/tcp-server.js
//   terminal 2   node tests/node/tcp-client.js
//
// The same program in Rust is labs/tcp-client: same flags, same story. Type a
// line in terminal 2, then Ctrl-D. What arrives is the data and goes to stdout;
// the story goes to stderr. Then replace `socket.end` with `socket.destroy`,
// and see what becomes of the answers that are still on their way.

const { constants } = require('node:os');
const net = require('node:net');
const {
  fail, printable, reason, showAddress, whenAskedToEnd,
} = require('./common.js');
const { flag, hostPort, parseFlags, time } = require('./flags.js');

const flags = parseFlags(
  'Connect, send what is typed, print what arrives.',
  '--connect localhost:8080 --send hello --end-after 5s --end-text byebye',
  {
    connect: flag(
      'HOST:PORT', hostPort,
      'Server to connect to; of a name, every address', '127.0.0.1:8080',
    ),
    'connect-timeout': flag('TIME', time, 'Give up when not connected by then'),
    send: flag('TEXT', String, 'Send this text in place of stdin'),
    'end-after': flag('TIME', time, 'End our direction so long after connect'),
    'end-text': flag('TEXT', String, 'Send this text last'),
  },
);

// Our own limit; the system does not know of it, so we make its error.
const TIMED_OUT = Object.assign(new Error('nobody answered in time'), {
  code: 'ETIMEDOUT',
  errno: -constants.errno.ETIMEDOUT,
});

const socket = new net.Socket();
const typed = flags.send === undefined ? process.stdin : undefined;
let connected = false;
let endTimer;

// `localhost` may be ::1 first, while the server listens on 127.0.0.1 only.
socket.on('connectionAttempt', (ip, port) => {
  console.error(`trying ${showAddress(ip, port)}`);
});
socket.on('connectionAttemptFailed', (ip, port, _family, error) => {
  console.error(`${showAddress(ip, port)}: ${reason(error)}`);
});
socket.on('connectionAttemptTimeout', (ip, port) => {
  console.error(`${showAddress(ip, port)}: ${reason(TIMED_OUT)}`);
});
// 'timeout' is only an event; the attempt would go on.
socket.on('timeout', () => socket.destroy(TIMED_OUT));
socket.on('connect', () => {
  connected = true;
  // After connecting it would be a limit on silence.
  socket.setTimeout(0);
  const server = showAddress(socket.remoteAddress, socket.remotePort);
  const local = showAddress(socket.localAddress, socket.localPort);
  console.error(`connected to ${server} from ${local}`);
  send();
});

if (process.stdout.isTTY) {
  // A server must not move our cursor or type for us. Text, so that a
  // character that comes in two reads shows when it is whole.
  socket.setEncoding('utf8');
  socket.on('data', (text) => process.stdout.write(printable(text)));
} else {
  socket.pipe(process.stdout);
}
// The server's FIN ends the program, even if more could be typed.
socket.on('end', () => {
  console.error('the server ended');
  stopTyping();
});
socket.on('error', (error) => {
  const asked = flags.connect.text;
  if (error.syscall === 'getaddrinfo') {
    fail(`cannot resolve ${asked}`, error);
  } else if (connected) {
    fail(`connection to ${asked} failed`, error);
  } else {
    // Each of several addresses has its error; the last one is told.
    fail(`cannot connect to ${asked}`, error.errors?.at(-1) ?? error);
  }
});
socket.on('close', stopTyping);

whenAskedToEnd(() => socket.destroy());

const { host, port } = flags.connect;
socket.setTimeout(flags['connect-timeout'] ?? 0);
socket.connect({
  host,
  port,
  // Both are what Node does anyway: try one address after the other, none but
  // the last for longer than this.
  autoSelectFamily: true,
  autoSelectFamilyAttemptTimeout: 250,
});

function send() {
  // Not `end: true`: what comes last is ours to say.
  typed?.pipe(socket, { end: false });
  typed?.on('error', (error) => {
    fail('cannot read stdin', error);
    socket.destroy();
  });
  if (flags.send !== undefined) socket.write(flags.send);

  if (flags['end-after'] !== undefined) {
    endTimer = setTimeout(endOurDirection, flags['end-after']);
  } else if (typed) {
    typed.on('end', endOurDirection);
  } else {
    endOurDirection();
  }
}

// Our FIN: nothing more will come from here. We still read.
function endOurDirection() {
  stopTyping();
  socket.end(flags['end-text']);
}

// As long as somebody listens to stdin, Node does not end.
function stopTyping() {
  clearTimeout(endTimer);
  typed?.unpipe(socket);
  typed?.destroy();
}
