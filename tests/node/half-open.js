'use strict';
// The client has ended: end as well, or go on sending.
//
//   terminal 1   node tests/node/half-open.js --allow-half-open
//   terminal 2   cargo run -p tcp-client
//
// The same program in Rust is labs/half-open: same flags, same story. Press
// Ctrl-D in terminal 2: the client ends its direction, and the server goes on
// for three seconds. Then take the call of `socket.end()` away: the client
// waits for ever, and `ss -tn 'sport = :8080'` shows CLOSE-WAIT.

const net = require('node:net');
const {
  reason, serverFailed, showAddress, story, warnUnlessLoopback, whenAskedToEnd,
} = require('./common.js');
const { flag, hostPort, parseFlags, time } = require('./flags.js');

const flags = parseFlags(
  'The client has ended: end as well, or go on sending.',
  '--allow-half-open --for 10s',
  {
    listen: flag(
      'HOST:PORT', hostPort,
      'Address to listen on; port 0 takes any free port', '127.0.0.1:8080',
    ),
    'allow-half-open': {
      type: 'boolean',
      parse: Boolean,
      help: 'Go on sending when the client has ended',
    },
    for: flag('TIME', limited, 'How long to go on, such as 500ms or 5s', '3s'),
    every: flag('TIME', limited, 'Time from one line to the next', '1s'),
  },
);

// A time that is not none and not for ever.
function limited(text) {
  const milliseconds = time(text);
  if (milliseconds >= 1 && milliseconds <= 3_600_000) return milliseconds;
  throw new Error('write a time from 1ms to 60m, such as 500ms or 5s');
}

const server = net.createServer({ allowHalfOpen: flags['allow-half-open'] });
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

// One client, whatever becomes of it.
function talk(socket) {
  sockets.add(socket);
  const peer = showAddress(socket.remoteAddress, socket.remotePort);
  story(`${peer} connected`);
  socket.write('welcome\r\n');

  socket.on('data', (chunk) => {
    if (!socket.write(chunk)) {
      socket.pause();
      socket.once('drain', () => socket.resume());
    }
  });

  // The client's FIN. Unless `allowHalfOpen` is true, Node calls `end()` itself
  // when this handler has returned.
  socket.on('end', () => {
    story(`${peer} ended`);
    if (flags['allow-half-open']) goOn(socket, peer);
  });

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

// Sends to a client that sends nothing any more, and ends then.
function goOn(socket, peer) {
  const start = performance.now();
  let number = 1;
  const next = () => {
    const after = number * flags.every;
    if (after > flags.for) {
      at(start + flags.for, socket, () => socket.end());
      return;
    }
    at(start + after, socket, () => {
      // Told when the kernel has taken it. Who reads late gets the next line
      // late, too: nothing is kept for him in memory.
      socket.write(`after your end, line ${number}\r\n`, (error) => {
        if (error) return;
        story(`${peer} was sent line ${number}`);
        number += 1;
        next();
      });
    });
  };
  next();
}

// Calls `then` when it is time, and not if the socket has been closed by then.
// A timer counts whole milliseconds, and may come a part of one too early.
function at(due, socket, then) {
  const left = due - performance.now();
  if (left <= 0) {
    then();
    return;
  }
  const timer = setTimeout(() => {
    socket.off('close', cancel);
    at(due, socket, then);
  }, Math.ceil(left));
  const cancel = () => clearTimeout(timer);
  socket.once('close', cancel);
}
