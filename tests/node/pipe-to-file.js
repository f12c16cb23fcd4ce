'use strict';
// Pipe what clients send into one file that stays open.
//
//   terminal 1   node tests/node/pipe-to-file.js
//   terminal 2   tail -f msg.txt
//   terminal 3   nc 127.0.0.1 8080      (or: telnet 127.0.0.1 8080)
//
// The same program in Rust is labs/pipe-to-file: same flags, same story. Then,
// in `pipe`, take `{ end: false }` away, as it is in the first of the notes,
// and connect twice. When the first client ends, the second is frozen.

const fs = require('node:fs');
const net = require('node:net');
const { finished } = require('node:stream');
const {
  fail, reason, serverFailed, showAddress, story, warnUnlessLoopback,
  whenAskedToEnd,
} = require('./common.js');
const { flag, hostPort, parseFlags, time } = require('./flags.js');

const flags = parseFlags(
  'Pipe what clients send into one file that stays open.',
  '--end-text over --append',
  {
    listen: flag(
      'HOST:PORT', hostPort,
      'Address to listen on; port 0 takes any free port', '127.0.0.1:8080',
    ),
    file: flag('PATH', String, 'Where to write what clients send', 'msg.txt'),
    append: {
      type: 'boolean',
      parse: Boolean,
      help: 'Keep what is in the file, and write behind it',
    },
    'unpipe-after': flag(
      'TIME', time, 'Drop what a client sends later than this',
    ),
    'end-text': flag(
      'TEXT', String, 'Write this when a client ends, or is unpiped', '',
    ),
  },
);

// What is written goes to the end of the file, wherever that is by then.
function open() {
  if (fs.existsSync(flags.file) && fs.statSync(flags.file).isFIFO()) {
    console.error(`error: cannot write to ${flags.file}: it is a FIFO, which ` +
      'keeps nothing; name another file');
    process.exit(1);
  }
  try {
    return fs.openSync(flags.file, 'a');
  } catch (error) {
    fail(`cannot write to ${flags.file}`, error);
    process.exit();
  }
}

const fd = open();
const isFile = fs.fstatSync(fd).isFile();
// Half-open, so that a client gets our FIN when its bytes have been written,
// and not as soon as they have been read.
const server = net.createServer({ allowHalfOpen: true });
const sockets = new Set();

server.on('listening', () => {
  const { address, port } = server.address();
  story(`listening on ${showAddress(address, port)}`);
  warnUnlessLoopback({ address, port });
  const { size } = fs.fstatSync(fd);
  if (flags.append) {
    story(`appending to ${flags.file} after ${size} bytes`);
  } else {
    // Not before the port is ours: a second server, which cannot have it, must
    // not empty the file of the first.
    if (isFile) fs.ftruncateSync(fd);
    story(`writing to ${flags.file}, ${size} bytes dropped`);
  }
});
server.on('connection', talk);
server.on('error', (error) => serverFailed(error, flags.listen));
server.on('close', finish);

whenAskedToEnd(() => {
  server.close();
  for (const socket of sockets) socket.destroy();
});

const { host, port } = flags.listen;
server.listen({ host, port });

// Waits until the file is on the disk, when nobody writes any more.
function finish() {
  if (server.listening || sockets.size > 0) return;
  try {
    if (isFile) fs.fsyncSync(fd);
  } catch (error) {
    fail(`cannot write to ${flags.file}`, error);
  }
}

// One client, from its coming to its going.
function talk(socket) {
  sockets.add(socket);
  const peer = showAddress(socket.remoteAddress, socket.remotePort);
  story(`${peer} connected`);
  socket.write('welcome\r\n');
  const { file, done } = pipe(socket, peer);

  let failure;
  socket.on('error', (error) => {
    failure = error;
  });
  socket.on('close', () => {
    done(() => {
      sockets.delete(socket);
      const written = `${file.bytesWritten} bytes written`;
      story(failure
        ? `${peer} closed with an error, ${written}: ${reason(failure)}`
        : `${peer} closed, ${written}`);
      finish();
    });
  });
}

// Pipes the client to a stream of its own, so that an error tells whose bytes
// it is about, and destroys no stream of another. The descriptor is shared: it
// appends, so the kernel lets one write end before the next begins.
function pipe(socket, peer) {
  const file = fs.createWriteStream('', { fd, autoClose: false });
  let isOver = false;
  // The end of the pipe, for one reason only.
  const end = (text, then) => {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    socket.unpipe(file);
    // An empty text would be a write of its own.
    file.end(text || undefined, then);
  };
  const timer = flags['unpipe-after'] === undefined ? undefined : setTimeout(
    () => end(flags['end-text'], () => {
      story(`${peer} unpiped`);
      dropRest(socket, peer);
    }),
    flags['unpipe-after'],
  );

  file.on('error', (error) => {
    isOver = true;
    clearTimeout(timer);
    const why = `cannot be written: ${reason(error)}`;
    story(`${peer} ${why}`);
    console.error(`warning: ${peer} ${why}`);
    socket.end(`cannot write: ${reason(error)}\r\n`);
    dropRest(socket, peer);
  });
  socket.once('end', () => end(flags['end-text'], (error) => {
    if (error) return;
    story(`${peer} ended`);
    socket.end();
  }));
  socket.pipe(file, { end: false });

  // Calls back when nothing more will be written.
  const done = (then) => {
    end('');
    finished(file, () => then());
  };
  return { file, done };
}

// Reads on to the client's end. `unpipe` leaves the socket paused: it would
// hang, and its end would not be seen.
function dropRest(socket, peer) {
  let dropped = 0;
  socket.on('data', (chunk) => {
    dropped += chunk.length;
  });
  socket.on('end', () => {
    story(`${peer} ended, ${dropped} bytes dropped`);
    socket.end();
  });
  socket.resume();
}
