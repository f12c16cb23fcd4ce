'use strict';
// What the programs here do alike and none of them is about: the story on
// stdout, an end in order, errors in one line, and text from a stranger made
// safe to show. The Rust labs have the same in crates/common.

const { getSystemErrorMap } = require('node:util');

// Tells one line of the story. A reader that has gone shows as an 'error' of
// stdout, a moment later.
function story(line) {
  process.stdout.write(`${line}\n`);
}

// Calls `stop` once, when the program has been asked to end: by Ctrl-C, by
// SIGTERM, or by a closed stdout. `stop` closes what is open; the program ends
// by itself when nothing is open any more.
function whenAskedToEnd(stop) {
  let asked = false;
  const ask = () => {
    if (!asked) stop();
    asked = true;
  };
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.on(signal, () => {
      // Somebody has waited long enough: 128 + SIGINT, as in a shell.
      if (asked) process.exit(130);
      ask();
    });
  }
  process.stdout.on('error', (error) => {
    if (error.code !== 'EPIPE' && !asked) fail('cannot write to stdout', error);
    ask();
  });
  // A closed stderr is no reason to stop.
  process.stderr.on('error', () => {});
}

// What the 'error' of a server is about: a client that could not be accepted,
// a name that nobody knows, or an address that cannot be had.
function serverFailed(error, asked) {
  if (error.syscall === 'accept') {
    console.error(`warning: cannot accept: ${reason(error)}`);
  } else if (error.syscall === 'getaddrinfo') {
    fail(`cannot resolve ${asked.text}`, error);
  } else {
    const address = showAddress(error.address, error.port ?? 0);
    fail(`cannot listen on ${address}`, error);
  }
}

// One line for an error, one for what to do about it, and the status with
// which the program will end.
function fail(what, error) {
  console.error(`error: ${what}: ${reason(error)}`);
  const help = HELP[error.code];
  if (help) console.error(`help: ${help}`);
  process.exitCode = 1;
}

// `connection refused (ECONNREFUSED)`: what the system says, and its name.
function reason({ errno, code, message }) {
  const [, text] = getSystemErrorMap().get(errno) ?? [code, message];
  return `${text} (${code})`;
}

const SPELLING = 'check the spelling, or give an address: 127.0.0.1:8080';
const HELP = {
  EACCES: 'ports below 1024 belong to root, take one above, such as 8080; ' +
    'of a file, `ls -l` shows who may use it; to broadcast, a socket needs ' +
    'SO_BROADCAST',
  EADDRINUSE: 'end the program that uses it, or take another address or ' +
    'port; port 0 is any free one',
  EADDRNOTAVAIL: 'this machine has no such address; `ip addr` lists those ' +
    'it has',
  EAI_AGAIN: SPELLING,
  ECONNREFUSED: 'nobody listens there; start the server first, and compare ' +
    'the ports',
  ECONNRESET: 'the other side ended the connection without a goodbye',
  EDQUOT: 'your share of the disk is used up; `quota` shows it, delete ' +
    'something',
  EFBIG: 'the file is as large as it may be; `ulimit -f` shows the limit',
  EHOSTUNREACH: 'no such host on this network; check the address',
  EINVAL: 'that cannot be done with this; name an ordinary file, an ' +
    'address, or a socket that listens',
  EIO: 'the disk itself fails; `dmesg` says more',
  EISDIR: 'that is a directory; add the name of a file',
  EMSGSIZE: 'one datagram has room for 65,507 bytes over IPv4, 65,527 over ' +
    'IPv6; send less, or several, or use TCP',
  ENAMETOOLONG: 'the path of a Unix socket has room for 107 bytes; take a ' +
    'shorter one, or one that begins in the current directory',
  ENETUNREACH: 'there is no route to that network; `ip route` lists them',
  ENODEV: 'this machine has no such interface; `ip link` lists those it has',
  ENOENT: 'there is no such file or directory; check the spelling, or make ' +
    'the directory first',
  ENOSPC: 'the disk is full; `df -h` shows which, delete something there',
  ENOTDIR: 'a part of the path is a file, not a directory; check the ' +
    'spelling',
  ENOTFOUND: SPELLING,
  ENXIO: 'that is a socket, or a device that is not there; name an ' +
    'ordinary file',
  EPIPE: 'the other side has closed the connection',
  EROFS: 'that disk can only be read; name a file on another',
  ETIMEDOUT: 'nobody answered; check the address, and firewalls in between',
};

// An address as people write it. On `::` an IPv4 client shows as
// ::ffff:127.0.0.1; we say 127.0.0.1.
function showAddress(address, port) {
  // Node asks the kernel late: who has reset the connection by then has no
  // address any more.
  if (address === undefined) return 'somebody who has gone';
  const ip = address.replace(/^::ffff:(?=\d+\.)/, '');
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}

function warnUnlessLoopback({ address, port }) {
  if (address === '::1' || address.startsWith('127.')) return;
  console.error('warning: everybody who can reach this machine can connect ' +
    `to ${showAddress(address, port)}`);
}

// Text in quotes, for a line of the story; a long one ends in `…`.
function quote(text) {
  const characters = [...text];
  const shown = characters.slice(0, 1000).join('').replace(/["\\]/g, '\\$&');
  return `"${escape(shown, ' ')}"${characters.length > 1000 ? ' …' : ''}`;
}

// Text as it may go to a terminal: lines and tabs as they are, CR left out.
function printable(text) {
  return escape(text.replaceAll('\r', ''), ' \n\t');
}

// What is not visible shows as `\n`, `\u{1b}`, `\u{202e}`, in the manner of
// Rust. Otherwise a peer could move the cursor, or rewrite what stands there.
function escape(text, kept) {
  const short = { '\0': '\\0', '\t': '\\t', '\n': '\\n', '\r': '\\r' };
  return text.replace(/[\p{C}\p{Z}\p{Grapheme_Extend}]/gu, (character) => {
    if (kept.includes(character)) return character;
    const number = character.codePointAt(0).toString(16);
    return short[character] ?? `\\u{${number}}`;
  });
}

module.exports = {
  escape, fail, printable, quote, reason, serverFailed, showAddress, story,
  warnUnlessLoopback, whenAskedToEnd,
};
